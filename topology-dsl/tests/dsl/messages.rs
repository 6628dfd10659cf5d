//! What the compiler says to common mistakes.
//!
//! The cases are compiled against the library as it was built for this very test. trybuild would build all dependencies
//! a second time, in another profile, the C++ ones included.

use std::path::{Path, PathBuf};
use std::process::Command;

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

/// What the compiler says about a case that must not compile.
fn complaint_about(case: &str) -> String {
    let libraries = libraries();
    let mut library = std::ffi::OsString::from("millstream=");
    library.push(millstream(&libraries));
    let source =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/dsl/messages").join(case).with_extension("rs");
    let compiled = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()))
        .args(["--edition=2024", "--emit=metadata", "--crate-name=case"])
        .arg("--out-dir")
        .arg(env!("CARGO_TARGET_TMPDIR"))
        .arg("-L")
        .arg(format!("dependency={}", libraries.display()))
        .arg("--extern")
        .arg(library)
        .arg(source)
        .output()
        .expect("the compiler can be started");
    assert!(!compiled.status.success(), "{case} must not compile");
    String::from_utf8(compiled.stderr).expect("the compiler writes UTF-8")
}

#[track_caller]
fn explains(case: &str, expected: &[&str]) {
    let complaint = complaint_about(case);
    for text in expected {
        assert!(complaint.contains(text), "`{text}` is not in the message about {case}:\n{complaint}");
    }
}

#[test]
fn a_join_of_unequal_keys_names_both_key_types() {
    explains(
        "join_of_unequal_keys",
        &[
            "a stream with keys of type `u64` cannot be joined with `&KTable<String, String>`",
            "give the stream the table's keys with `select_key` first",
        ],
    );
}

#[test]
fn a_join_of_tables_of_unequal_keys_names_both_key_types_and_the_foreign_key_join() {
    explains(
        "join_of_tables_of_unequal_keys",
        &[
            "a table with keys of type `u64` cannot be joined with `&KTable<String, String>`",
            "`orders.on(|id, order| order.customer.clone()).join(&customers, ..)`",
        ],
    );
}

#[test]
fn a_join_with_a_global_table_without_a_key_is_told_how_to_choose_one() {
    explains(
        "join_of_global_table_without_key",
        &[
            "cannot be joined with `&GlobalKTable<String, String>`",
            "`orders.on(|id, order| order.sku.clone()).join(&products, ..)`",
        ],
    );
}

#[test]
fn a_type_without_serde_is_told_how_to_get_one() {
    explains("type_without_serde", &["no `HasSerde` for this type", "json_serde!(Order);"]);
}

#[test]
fn a_stream_joined_with_a_stream_is_told_of_the_span_of_time() {
    explains(
        "join_of_streams_without_window",
        &["cannot be joined with `&KStream<String, i64>`", "`orders.within(minutes(5)).join(&payments, ..)`"],
    );
}

#[test]
fn a_span_of_time_that_is_no_window_is_told_what_is() {
    explains(
        "windows_without_kind",
        &["`Duration` does not say how a stream is cut into windows", "use `TimeWindows`, `SlidingWindows`"],
    );
}

#[test]
fn an_aggregation_that_returns_another_type_is_told_which_it_has_to() {
    explains(
        "aggregate_of_another_type",
        &[
            "an aggregation into `i64` cannot go on with `String`",
            "return the new value, or an `Option` of it",
        ],
    );
}

#[test]
fn a_closure_that_can_fail_is_told_of_the_operator_that_takes_it() {
    explains("fallible_closure", &["`Result<i64, ParseIntError>`", "`try_map_values`, say"]);
}

#[test]
fn a_sink_of_a_type_without_serde_is_told_how_to_get_one() {
    explains("sink_of_type_without_serde", &["no `HasSerde` for this type", "json_serde!(Priced);"]);
}

#[test]
fn a_store_constant_of_another_type_is_named_with_what_the_table_has() {
    explains("store_of_another_type", &["StoreName<String, i64>", "Materialized<String, u64"]);
}

#[test]
fn a_query_by_a_key_of_another_type_names_both() {
    explains("query_by_another_key", &["expected `&String`, found `&u64`"]);
}

#[test]
fn a_processor_that_forwards_another_type_is_told_which_it_has_to() {
    explains("forward_of_another_type", &["expected `Record<String, i64>`, found `Record<String, String>`"]);
}

#[test]
fn a_null_where_none_may_be_is_told_where_it_may() {
    explains("null_where_none_may_be", &["`Option<String>`"]);
}
