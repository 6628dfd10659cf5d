//! What the compiler says to common mistakes: which types do not fit, and the remedy. `messages/` has the mistakes, and beside each of them what
//! is said about it.
//!
//! The cases are compiled against the library as it was built for this very test. trybuild would build all dependencies
//! a second time, in another profile, the C++ ones included.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// Where the mistakes are.
const MISTAKES: &str = "tests/dsl/messages";

/// The folder of the libraries this test is linked with.
fn libraries() -> PathBuf {
    let test = std::env::current_exe().expect("a running test has a path");
    test.parent().expect("a test lies in a folder").to_path_buf()
}

/// The library as it was built last.
fn millstream(libraries: &Path) -> PathBuf {
    let built = std::fs::read_dir(libraries).expect("the folder can be read").filter_map(|entry| {
        let entry = entry.ok()?;
        let name = entry.file_name().into_string().ok()?;
        let is_library = name.starts_with("libmillstream-") && name.ends_with(".rlib");
        is_library.then_some((entry.metadata().ok()?.modified().ok()?, entry.path()))
    });
    built.max().expect("the library was built for this test").1
}

/// The files of a case: the program, and what is said about it.
fn files(case: &str) -> (PathBuf, PathBuf) {
    let case = Path::new(env!("CARGO_MANIFEST_DIR")).join(MISTAKES).join(case);
    (case.with_extension("rs"), case.with_extension("txt"))
}

/// What the compiler says about a program that must not compile, as JSON, a line a message.
fn complaint_about(program: &Path) -> String {
    let libraries = libraries();
    let mut library = std::ffi::OsString::from("millstream=");
    library.push(millstream(&libraries));
    let compiled = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()))
        .args(["--edition=2024", "--emit=metadata", "--crate-name=case", "--error-format=json"])
        .arg("--out-dir")
        .arg(env!("CARGO_TARGET_TMPDIR"))
        .arg("-L")
        .arg(format!("dependency={}", libraries.display()))
        .arg("--extern")
        .arg(library)
        .arg(program)
        .output()
        .expect("the compiler can be started");
    assert!(!compiled.status.success(), "{} must not compile", program.display());
    String::from_utf8(compiled.stderr).expect("the compiler writes UTF-8")
}

/// A message and what belongs to it, without what changes with the library's own lines, with the types that it happens to have, and with the
/// machine.
fn written_out(message: &Value, out: &mut String) {
    let (level, text) = (message["level"].as_str().unwrap_or_default(), message["message"].as_str());
    let text = text.unwrap_or_default();
    let beside_the_point = [
        "aborting due to",
        "consider using `--verbose`",
        "the following other types implement trait",
        "the full name for the type",
        "the full type name",
    ];
    if level == "failure-note" || beside_the_point.iter().any(|beginning| text.starts_with(beginning)) {
        return;
    }
    let code = message["code"]["code"].as_str().map_or_else(String::new, |code| format!("[{code}]"));
    writeln!(out, "{level}{code}: {text}").expect("a String takes all");
    for span in message["spans"].as_array().into_iter().flatten() {
        let is_of_the_case = span["file_name"].as_str().is_some_and(|name| name.contains(MISTAKES));
        if is_of_the_case && let Some(label) = span["label"].as_str() {
            let line = span["text"][0]["text"].as_str().unwrap_or_default();
            writeln!(out, "  | {}\n  = {label}", line.trim()).expect("a String takes all");
        }
    }
    message["children"].as_array().into_iter().flatten().for_each(|child| written_out(child, out));
}

/// Checks that the compiler says of a mistake what the file beside it has. `UPDATE_MESSAGES=1` writes that file.
#[track_caller]
fn assert_explained(case: &str) {
    let (program, expected) = files(case);
    let mut said = String::new();
    for line in complaint_about(&program).lines() {
        let message = serde_json::from_str(line).expect("each line is a message as JSON");
        written_out(&message, &mut said);
    }
    if std::env::var_os("UPDATE_MESSAGES").is_some() {
        std::fs::write(&expected, &said).expect("the file can be written");
    }
    let expected = std::fs::read_to_string(&expected).unwrap_or_default();
    assert_eq!(said, expected, "the message about {case}; UPDATE_MESSAGES=1 writes it");
}

#[test]
fn a_join_of_unequal_keys_names_both_key_types() {
    assert_explained("join_of_unequal_keys");
}

#[test]
fn a_join_of_tables_of_unequal_keys_names_both_key_types_and_the_foreign_key_join() {
    assert_explained("join_of_tables_of_unequal_keys");
}

#[test]
fn a_join_with_a_global_table_without_a_key_is_told_how_to_choose_one() {
    assert_explained("join_of_global_table_without_key");
}

#[test]
fn a_stream_joined_with_a_stream_is_told_of_the_span_of_time() {
    assert_explained("join_of_streams_without_window");
}

#[test]
fn a_merge_of_streams_of_other_types_is_told_to_make_them_equal() {
    assert_explained("merge_of_other_types");
}

#[test]
fn a_type_without_serde_is_told_how_to_get_one() {
    assert_explained("type_without_serde");
    assert_explained("sink_of_type_without_serde");
}

#[test]
fn a_null_where_none_may_be_is_told_where_it_may() {
    assert_explained("null_where_none_may_be");
}

#[test]
fn a_span_of_time_that_is_no_window_is_told_what_is() {
    assert_explained("windows_without_kind");
}

#[test]
fn an_aggregation_that_returns_another_type_is_told_which_it_has_to() {
    assert_explained("aggregate_of_another_type");
}

#[test]
fn a_closure_that_can_fail_is_told_of_the_operator_that_takes_it() {
    assert_explained("fallible_closure");
}

#[test]
fn a_store_of_another_type_or_kind_is_told_what_the_table_has() {
    assert_explained("store_of_another_type");
    assert_explained("store_of_another_kind");
}

#[test]
fn a_buffer_that_emits_early_is_told_how_it_never_does() {
    assert_explained("buffer_that_emits_early");
}

/// Of these the compiler itself says which types are there and which are wanted.
#[test]
fn keys_and_records_of_another_type_are_told_which_it_has_to_be() {
    assert_explained("query_by_another_key");
    assert_explained("forward_of_another_type");
}

#[test]
fn every_mistake_is_explained() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(MISTAKES);
    for file in std::fs::read_dir(folder).expect("the folder can be read") {
        let path = file.expect("the folder can be read").path();
        let case = path.file_stem().and_then(|name| name.to_str()).expect("names are text");
        let checked = format!("assert_explained(\"{case}\")");
        assert!(include_str!("messages.rs").contains(&checked), "{case} is not checked");
    }
}
