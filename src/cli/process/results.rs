//! Where a result goes: a file, a line on stdout, or nowhere.
//!
//! A result is written to a new file beside the one that it is to be, `.millstream-PID-N.part`, which then takes its name.
//! A process that is killed in between leaves that file, and no later run removes it: the directory may be shared with
//! other machines or containers, where the number of a process says nothing of whether it lives, and a file that somebody
//! else still writes is worth more than a clean directory. It is in nobody's way: who finds the name taken takes the next.

use std::{
    fmt::Write as _,
    io::{self, Write},
    path::{Path, PathBuf},
    process,
};

use super::plan::Plan;

/// Why a result is not where it should be.
pub(super) enum NotKept {
    /// This result could not be written; the next may be.
    File(io::Error),
    /// Nobody reads stdout any more: there is no point in going on.
    Stdout(io::Error),
}

/// Puts the result of a file where it belongs.
pub(super) async fn keep(plan: &Plan, index: usize, result: &[u8]) -> Result<(), NotKept> {
    let input = &plan.inputs[index];
    match plan.outputs.get(index) {
        Some(output) if plan.makes_digests() => {
            let name = Path::new(input.file_name().unwrap_or_default());
            replace(output, digest_line(result, name).as_bytes()).await.map_err(NotKept::File)
        }
        Some(output) => replace(output, result).await.map_err(NotKept::File),
        None if plan.makes_digests() => {
            io::stdout().lock().write_all(digest_line(result, input).as_bytes()).map_err(NotKept::Stdout)
        }
        None => Ok(()),
    }
}

/// As the tools that check such lists write it.
fn digest_line(digest: &[u8], file: &Path) -> String {
    let mut line = String::with_capacity(2 * digest.len() + 64);
    for byte in digest {
        write!(line, "{byte:02x}").expect("a string takes what is written to it");
    }
    writeln!(line, "  {}", file.display()).expect("a string takes what is written to it");
    line
}

/// The file is there whole, or not at all.
async fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let part = new_file_beside(path).await?;
    let written = async {
        tokio::fs::write(&part, bytes).await?;
        tokio::fs::rename(&part, path).await
    };
    if let Err(error) = written.await {
        // The first error is the one to tell; what is left of the file may not even be there.
        tokio::fs::remove_file(&part).await.ok();
        return Err(error);
    }
    Ok(())
}

/// A file that was not there before: neither an input nor another result.
async fn new_file_beside(path: &Path) -> io::Result<PathBuf> {
    let mut number = 0_u32;
    loop {
        let part = path.with_file_name(format!(".millstream-{}-{number}.part", process::id()));
        match tokio::fs::File::create_new(&part).await {
            Ok(_) => return Ok(part),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_a_line_that_checkers_read() {
        assert_eq!(digest_line(&[0x0f, 0xa0], Path::new("a/b.txt")), "0fa0  a/b.txt\n");
    }

    #[tokio::test]
    async fn a_result_replaces_the_file_and_leaves_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        replace(&path, b"old and longer").await.unwrap();
        replace(&path, b"new").await.unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
        // A name that it would have taken itself is somebody else's.
        let taken = new_file_beside(&path).await.unwrap();
        std::fs::write(&taken, b"precious").unwrap();
        replace(&path, b"newer").await.unwrap();
        assert_eq!(std::fs::read(&taken).unwrap(), b"precious");
        std::fs::remove_file(taken).unwrap();
        std::fs::create_dir(dir.path().join("b")).unwrap();
        replace(&dir.path().join("b"), b"a directory is in the way").await.unwrap_err();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2);
    }
}
