//! Which file becomes which, settled before anything is sent.

use std::{
    collections::{HashMap, HashSet},
    ffi::{OsStr, OsString},
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context;

use crate::{cli::BadUsage, grpc::proto::Operation};

/// What is to be done.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) operation: String,
    pub(super) parameters: HashMap<String, String>,
    pub(super) inputs: Vec<PathBuf>,
    /// Where each result goes; empty when results are not kept.
    pub(super) outputs: Vec<PathBuf>,
}

impl Plan {
    /// Makes the output directory, and refuses results that would overwrite each other or an input.
    pub(super) fn new(
        operation: &Operation,
        parameters: HashMap<String, String>,
        files: &[PathBuf],
        output: Option<&Path>,
    ) -> anyhow::Result<Self> {
        let outputs = match output {
            None => Vec::new(),
            Some(dir) => {
                fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
                let dir = fs::canonicalize(dir).with_context(|| format!("cannot find {}", dir.display()))?;
                outputs(operation, &parameters, files, &dir)?
            }
        };
        Ok(Self { operation: operation.name.clone(), parameters, inputs: files.to_vec(), outputs })
    }

    /// Whether results are raw digests, which people read in hexadecimal.
    pub(super) fn makes_digests(&self) -> bool {
        self.operation == DIGEST
    }

    /// Whether stdout is a list of digests: then nothing else goes there.
    pub(super) fn stdout_has_digests(&self) -> bool {
        self.makes_digests() && self.outputs.is_empty()
    }
}

const DIGEST: &str = "digest";

fn outputs(
    operation: &Operation,
    parameters: &HashMap<String, String>,
    files: &[PathBuf],
    dir: &Path,
) -> Result<Vec<PathBuf>, BadUsage> {
    // A file that is not there cannot be overwritten; it is named when it is its turn.
    let inputs: HashSet<PathBuf> = files.iter().filter_map(|file| fs::canonicalize(file).ok()).collect();
    let mut taken: HashMap<PathBuf, &Path> = HashMap::new();
    let mut outputs = Vec::with_capacity(files.len());
    for file in files {
        let name = file.file_name().ok_or_else(|| {
            BadUsage::new(format_args!("{} has no name that a result could have", file.display()))
        })?;
        let result = result_name(operation, parameters, name);
        // Part of it may be the value of a parameter, which nobody has judged yet.
        if Path::new(&result).file_name() != Some(&result) {
            return Err(BadUsage::new(format_args!(
                "the result of {} would be called {result:?}, which is no name of a file in {}",
                file.display(),
                dir.display()
            )));
        }
        let output = dir.join(result);
        if inputs.contains(&output) {
            return Err(BadUsage::new(format_args!(
                "the result of {} would overwrite the input {}; choose another --output",
                file.display(),
                output.display()
            )));
        }
        if let Some(other) = taken.insert(output.clone(), file) {
            return Err(BadUsage::new(format_args!(
                "the results of {} and {} would both be {}; process them into two directories",
                other.display(),
                file.display(),
                output.display()
            )));
        }
        outputs.push(output);
    }
    Ok(outputs)
}

/// What the result of a file of that name is called.
fn result_name(operation: &Operation, parameters: &HashMap<String, String>, name: &OsStr) -> OsString {
    let parameter = |key: &str| {
        let given = parameters.get(key).map(String::as_str);
        let default = || operation.parameters.iter().find(|known| known.name == key);
        given.or_else(|| default().map(|known| known.default_value.as_str())).unwrap_or_default()
    };
    match operation.name.as_str() {
        "compress" => append(name, "zst"),
        "decompress" => match Path::new(name) {
            path if path.extension() == Some(OsStr::new("zst")) => path.with_extension("").into(),
            path => path.into(),
        },
        DIGEST => append(name, parameter("algorithm")),
        "thumbnail" => append(Path::new(name).file_stem().unwrap_or(name), parameter("format")),
        _ => name.to_owned(),
    }
}

fn append(name: &OsStr, extension: &str) -> OsString {
    let mut name = name.to_owned();
    name.push(".");
    name.push(extension);
    name
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grpc::proto::Parameter;

    fn operation(name: &str) -> Operation {
        let parameter = |name: &str, default_value: &str| Parameter {
            name: name.into(),
            default_value: default_value.into(),
            ..Default::default()
        };
        let parameters = vec![parameter("algorithm", "blake3"), parameter("format", "png")];
        Operation { name: name.into(), parameters, ..Default::default() }
    }

    #[test]
    fn results_are_called_after_their_file_and_what_was_done() {
        let none = HashMap::new();
        for (done, name, result) in [
            ("echo", "a.txt", "a.txt"),
            ("validate", "a.json", "a.json"),
            ("compress", "a.txt", "a.txt.zst"),
            ("decompress", "a.txt.zst", "a.txt"),
            ("decompress", "a.bin", "a.bin"),
            ("digest", "a.txt", "a.txt.blake3"),
            ("thumbnail", "a.b.jpg", "a.b.png"),
            ("thumbnail", "picture", "picture.png"),
        ] {
            assert_eq!(result_name(&operation(done), &none, OsStr::new(name)), result, "{done} {name}");
        }
        let webp = [("format".to_owned(), "webp".to_owned())].into();
        assert_eq!(result_name(&operation("thumbnail"), &webp, OsStr::new("a.png")), "a.webp");
    }

    #[test]
    fn a_parameter_does_not_lead_a_result_out_of_its_directory() {
        let dir = tempfile::tempdir().unwrap();
        for (done, name) in [("thumbnail", "format"), ("digest", "algorithm")] {
            let parameters = [(name.to_owned(), "/../x".to_owned())].into();
            let files = [PathBuf::from("a.png")];
            let error = Plan::new(&operation(done), parameters, &files, Some(dir.path())).unwrap_err();
            assert!(error.is::<BadUsage>() && error.to_string().contains("no name of a file"), "{error}");
        }
    }

    #[test]
    fn results_that_would_overwrite_each_other_or_an_input_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        for name in ["a", "b"] {
            fs::create_dir(path(name)).unwrap();
            fs::write(path(name).join("x.png"), name).unwrap();
        }
        let files = [path("a/x.png"), path("b/x.png")];
        let plan = |output: &str, done: &str| {
            Plan::new(&operation(done), HashMap::new(), &files, Some(&path(output))).map(|plan| plan.outputs)
        };
        let error = plan("out", "echo").unwrap_err();
        assert!(error.is::<BadUsage>() && error.to_string().contains("would both be"), "{error}");
        let error = plan("a", "thumbnail").unwrap_err();
        assert!(error.to_string().contains("would overwrite the input"), "{error}");
        let one = Plan::new(&operation("compress"), HashMap::new(), &files[..1], Some(&path("a"))).unwrap();
        assert!(one.outputs[0].ends_with("a/x.png.zst"));
    }
}
