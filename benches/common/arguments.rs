//! `[--quick] [--json FILE]`, the arguments of every bench.

use std::{ffi::OsString, path::PathBuf, process::exit};

use serde_json::Value;

/// What was asked for.
#[derive(Debug, Default)]
pub(crate) struct Arguments {
    /// Within a minute, and rougher.
    pub(crate) quick: bool,
    json: Option<PathBuf>,
}

impl Arguments {
    /// The arguments of this process; ends it, with 2, if they make no sense.
    pub(crate) fn of_this_process() -> Self {
        Self::parse(std::env::args_os().skip(1)).unwrap_or_else(|complaint| {
            eprintln!("{complaint}; the arguments are [--quick] [--json FILE]");
            exit(2);
        })
    }

    fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Self, String> {
        let mut parsed = Self::default();
        let mut arguments = arguments.into_iter();
        while let Some(argument) = arguments.next() {
            match argument.to_str() {
                Some("--quick") => parsed.quick = true,
                Some("--json") => {
                    let file = arguments.next().ok_or("--json wants the name of a file after it")?;
                    parsed.json = Some(file.into());
                }
                // What `cargo bench` adds to every bench.
                Some("--bench") => {}
                _ => return Err(format!("{} is no argument of this bench", argument.display())),
            }
        }
        Ok(parsed)
    }

    /// Writes the figures where `--json` says, if it does; ends the process, with 1, if that is not possible.
    pub(crate) fn write(&self, figures: &Value) {
        let Some(file) = &self.json else { return };
        if let Err(error) = std::fs::write(file, format!("{figures:#}\n")) {
            eprintln!("{} cannot be written: {error}", file.display());
            exit(1);
        }
    }
}
