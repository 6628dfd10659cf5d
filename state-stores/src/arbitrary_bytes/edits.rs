//! Bytes that are nearly what somebody wrote.

use proptest::prelude::*;
use proptest::sample::{Index, select};

/// One thing that happens to bytes.
#[derive(Clone, Debug)]
enum Edit {
    /// A byte is another one.
    Replace(Index, u8),
    /// A number of four bytes, perhaps a length, is another one.
    Number(Index, u32),
    Insert(Index, Vec<u8>),
    /// What lies between two places is gone.
    Remove(Index, Index),
    /// What lies between two places is there twice.
    Repeat(Index, Index),
}

impl Edit {
    fn apply(&self, bytes: &mut Vec<u8>) {
        let place = |index: &Index| index.index(bytes.len() + 1);
        let span = |from: &Index, to: &Index| {
            let (from, to) = (place(from), place(to));
            from.min(to)..from.max(to)
        };
        match self {
            Edit::Replace(at, byte) => {
                let at = place(at);
                if let Some(replaced) = bytes.get_mut(at) {
                    *replaced = *byte;
                }
            }
            Edit::Number(at, number) => {
                let at = place(at);
                bytes.iter_mut().skip(at).zip(number.to_be_bytes()).for_each(|(byte, new)| *byte = new);
            }
            Edit::Insert(at, inserted) => {
                let at = place(at);
                bytes.splice(at..at, inserted.iter().copied());
            }
            Edit::Remove(from, to) => {
                let span = span(from, to);
                bytes.drain(span);
            }
            Edit::Repeat(from, to) => {
                let span = span(from, to);
                let end = span.end;
                let again = bytes[span].to_vec();
                bytes.splice(end..end, again);
            }
        }
    }
}

fn edit() -> impl Strategy<Value = Edit> {
    let at = any::<Index>;
    let number =
        prop_oneof![0..20_u32, select(vec![u32::MAX, u32::MAX - 1, i32::MAX.cast_unsigned(), 1 << 31])];
    prop_oneof![
        (at(), byte()).prop_map(|(at, byte)| Edit::Replace(at, byte)),
        (at(), number).prop_map(|(at, number)| Edit::Number(at, number)),
        (at(), prop::collection::vec(byte(), 1..6)).prop_map(|(at, bytes)| Edit::Insert(at, bytes)),
        (at(), at()).prop_map(|(from, to)| Edit::Remove(from, to)),
        (at(), at()).prop_map(|(from, to)| Edit::Repeat(from, to)),
    ]
}

/// Any byte, and more often one that means something in some format: ends, flags, marks of lengths, JSON.
fn byte() -> impl Strategy<Value = u8> {
    const MEANING: &[u8] = &[0, 1, 2, 3, 4, 5, 0x7f, 0x80, 0x81, 0xfe, 0xff];
    prop_oneof![any::<u8>(), select(MEANING), select(&b"[]{}\",:0-"[..])]
}

/// Any bytes; and those that were written, after a few edits.
pub(super) fn bytes_like(written: Vec<Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    let edited = (select(written), prop::collection::vec(edit(), 1..4)).prop_map(|(mut bytes, edits)| {
        edits.iter().for_each(|edit| edit.apply(&mut bytes));
        bytes
    });
    prop_oneof![1 => prop::collection::vec(byte(), 0..48), 3 => edited]
}
