//! The crate's own sources, for tests that hold all of them to a rule.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// The files of Rust below a folder of `src`, without those of tests: each with its path and its code, up to the first
/// module of tests.
pub(crate) fn below(folder: &str) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    gather(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(folder), &mut found);
    found
}

fn gather(folder: &Path, found: &mut Vec<(PathBuf, String)>) {
    for entry in fs::read_dir(folder).expect("the sources are where they were built") {
        let path = entry.expect("a folder can be read").path();
        let name = path.file_name().expect("an entry has a name").to_string_lossy().into_owned();
        if path.is_dir() {
            if !name.ends_with("tests") {
                gather(&path, found);
            }
        } else if name.ends_with(".rs") && !name.ends_with("tests.rs") {
            let source = fs::read_to_string(&path).expect("a source can be read");
            let code = source.split("#[cfg(test)]\n").next().expect("a split has a first part");
            found.push((path, code.to_owned()));
        }
    }
}
