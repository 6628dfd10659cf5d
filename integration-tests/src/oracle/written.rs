//! The cases that people wrote: `integration-tests/oracle/cases/*.json`, each an array.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::case::Case;

/// What both sides make of cases that differ and cannot be made the same: `### case`, text, `###END`.
const DIFFERENCES: &str = include_str!("../../oracle/differences.txt");

/// How the case of this name differs.
pub(super) fn difference_of(case: &str) -> Option<&'static str> {
    let (_, rest) = DIFFERENCES.split_once(&format!("### {case}\n"))?;
    Some(rest.split_once("###END")?.0.trim())
}

/// All of them, by file.
///
/// # Errors
/// If a file cannot be read, or is not as `case.rs` says.
pub fn written_cases() -> Result<Vec<Case>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("oracle/cases");
    let entries = fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut files = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<PathBuf>>>()?;
    files.sort();
    let mut cases = Vec::new();
    for file in files {
        cases.extend(cases_in(&file)?);
    }
    Ok(cases)
}

/// The cases of one file.
///
/// # Errors
/// As [`written_cases`].
pub fn cases_in(file: &Path) -> Result<Vec<Case>> {
    let text = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{} holds no cases", file.display()))
}
