//! Names that are read from text: those of tasks and of their directories.

use std::fmt::Display;
use std::str::FromStr;

use super::{Form, check};
use crate::directory::StateOwner;
use crate::types::TaskId;

#[track_caller]
fn check_names<T: FromStr + Display>(names: &[&str]) {
    let names = names.iter().map(|name| name.as_bytes().to_vec()).collect();
    check(names, Form::Canonical, |bytes| {
        let name: T = str::from_utf8(bytes).ok()?.parse().ok()?;
        Some(name.to_string().into_bytes())
    });
}

#[test]
fn tasks_and_whose_state_a_directory_holds() {
    check_names::<TaskId>(&["0_3", "12_345", "4294967295_2147483647"]);
    check_names::<StateOwner>(&["0_3", "global-0", "global-17"]);
}
