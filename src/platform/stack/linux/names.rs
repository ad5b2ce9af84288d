//! From addresses to functions, files and lines, as far as the binary knows them.

use std::{fmt::Write, ptr};

/// Beyond this it is the pool that has called, and says nothing.
const OURS: &str = concat!(env!("CARGO_CRATE_NAME"), "::platform::contain::");

/// Innermost first, in one line: `function (file:line) < function …`.
pub(super) fn of(addresses: &[u64]) -> String {
    let mut line = String::new();
    for &address in addresses {
        if !append(&mut line, address) {
            break;
        }
    }
    line
}

/// Appends all functions that an address lies in, of which the inner ones are inlined; false when it is not the handler's.
fn append(line: &mut String, address: u64) -> bool {
    let (mut known, mut of_interest) = (false, true);
    backtrace::resolve(ptr::without_provenance_mut(address as usize), |symbol| {
        let Some(name) = symbol.name() else { return };
        known = true;
        let name = format!("{name:#}");
        of_interest &= !name.starts_with(OURS);
        if of_interest {
            separate(line);
            line.push_str(&name);
            if let (Some(file), Some(number)) = (symbol.filename(), symbol.lineno()) {
                write!(line, " ({}:{number})", file.display()).expect("a string takes all");
            }
        }
    });
    if !known {
        separate(line);
        write!(line, "{address:#x}").expect("a string takes all");
    }
    of_interest
}

fn separate(line: &mut String) {
    if !line.is_empty() {
        line.push_str(" < ");
    }
}
