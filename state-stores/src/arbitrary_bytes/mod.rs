//! Bytes that nobody wrote, and bytes that are nearly what somebody wrote, into every decoder: none panics, none takes more memory than its
//! input accounts for, and what is read is written again as it was read.
//!
//! `docs/reliability.md` says how to try more of them. Bytes that failed once are kept beside the decoder that they failed in.

mod allocation;
mod edits;
mod formats;
mod names;
mod schemas;
mod serdes;
mod stores;

use std::panic::Location;

use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use self::allocation::peak_of;
use self::edits::bytes_like;
use crate::serde::{Encoded, Serde};

/// Decoders are quick, so each meets this many times as many cases as proptest is told to try.
const CASES: u32 = 128;

fn config(times: u32) -> ProptestConfig {
    let config = ProptestConfig::with_source_file(file!());
    ProptestConfig { cases: config.cases.saturating_mul(times), ..config }
}

/// How much may be held while so many bytes are read. What they claim to be long must not count, only what they are: no decoder makes
/// more of a byte than JSON, whose `{"":0}` is a node of a tree.
fn most_held(bytes: usize) -> usize {
    (16 << 10) + 256 * bytes
}

/// Whether bytes that are read are the only ones that mean what they mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// What is read is written as the same bytes.
    Canonical,
    /// It may be written as others, which are read as the same.
    Free,
}

/// Has `read` read bytes that are and are not like those that were written. It returns the bytes that are written of what it has read.
#[track_caller]
fn check(written: Vec<Vec<u8>>, form: Form, read: impl Fn(&[u8]) -> Option<Vec<u8>>) {
    let caller = Location::caller();
    for bytes in &written {
        assert_eq!(read(bytes).as_ref(), Some(bytes), "{caller}: what was written is read");
    }
    let outcome = TestRunner::new(config(CASES)).run(&bytes_like(written), |bytes| {
        let (again, held) = peak_of(|| read(&bytes));
        prop_assert!(held <= most_held(bytes.len()), "{} bytes took {held}", bytes.len());
        match (again, form) {
            (Some(again), Form::Canonical) => prop_assert_eq!(again, bytes),
            (Some(again), Form::Free) => prop_assert_eq!(read(&again), Some(again)),
            (None, _) => {}
        }
        Ok(())
    });
    outcome.unwrap_or_else(|failure| panic!("{caller}: {failure}"));
}

/// [`check`] of a serde, with the bytes of these values, which are also shown.
#[track_caller]
fn check_serde<T>(serde: &dyn Serde<T>, form: Form, values: &[T]) {
    check(values.iter().map(|value| encoded(serde, value)).collect(), form, |bytes| {
        drop(serde.to_json(bytes));
        serde.decode(bytes).ok().map(|value| encoded(serde, &value))
    });
}

#[track_caller]
fn encoded<T>(serde: &dyn Serde<T>, value: &T) -> Vec<u8> {
    let mut bytes = Vec::new();
    let encoded = serde.encode(value, &mut bytes).expect("a value can be written");
    assert_eq!(encoded, Encoded::Bytes);
    bytes
}

/// Has a serde make keys of texts that are and are not like those that a person would write. A key that was made can be read.
#[track_caller]
fn check_texts<T>(serde: &dyn Serde<T>, texts: &[&str]) {
    let caller = Location::caller();
    let key_of = |text: &str| {
        let mut key = Vec::new();
        serde.key_from_text(text, &mut key).map(|()| key)
    };
    for text in texts {
        assert!(key_of(text).is_ok(), "{caller}: {text}");
    }
    let texts = texts.iter().map(|text| text.as_bytes().to_vec()).collect();
    let outcome = TestRunner::new(config(CASES)).run(&bytes_like(texts), |bytes| {
        let text = String::from_utf8_lossy(&bytes);
        let (key, held) = peak_of(|| key_of(&text));
        prop_assert!(held <= most_held(text.len()), "{} bytes took {held}", text.len());
        if let Ok(key) = key {
            prop_assert!(serde.decode(&key).is_ok(), "{key:?}");
        }
        Ok(())
    });
    outcome.unwrap_or_else(|failure| panic!("{caller}: {failure}"));
}
