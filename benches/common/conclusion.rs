//! How a bench ends.

use std::process::ExitCode;

/// What the process ends with; a failure is said first.
pub(crate) fn conclude(outcome: Result<(), String>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
