//! From addresses to functions, by the tables of symbols that binaries carry unless they are stripped.
//!
//! Debugging information would add lines, and what was inlined; but few binaries of a release have it, and reading it takes
//! seconds, and more memory than a server may have to spare while something in it is stuck.

use object::{Object, ObjectSymbol, SymbolKind};
use rustc_demangle::demangle;

use super::binaries::Binary;

/// Where a handler is called from: beyond this it is the pool that has called, and says nothing.
const OURS: &str = concat!(env!("CARGO_CRATE_NAME"), "::platform::contain::contain");

/// The functions that the addresses lie in, as one line: `innermost < next < …`. One that has no name is told by its place in
/// its file, as `file+0x123`.
pub(super) fn of(addresses: &[u64], binaries: &[Binary]) -> String {
    let mut names = vec![None; addresses.len()];
    for binary in binaries {
        let here: Vec<_> =
            (0..addresses.len()).filter(|&frame| binary.addresses.contains(&addresses[frame])).collect();
        if !here.is_empty() {
            binary.read(|file, shift| {
                name(file, shift, binary, addresses, &here, &mut names);
                Some(())
            });
        }
    }
    let frames = addresses.iter().zip(names);
    let frames = frames.map(|(address, name)| name.unwrap_or_else(|| format!("{address:#x}")));
    frames.take_while(|name| !name.starts_with(OURS)).collect::<Vec<_>>().join(" < ")
}

/// Names those of the addresses that lie in a file.
fn name<'data>(
    file: &impl Object<'data>,
    shift: u64,
    binary: &Binary,
    addresses: &[u64],
    here: &[usize],
    names: &mut [Option<String>],
) {
    for &frame in here {
        names[frame] = Some(format!("{}+{:#x}", binary.path, addresses[frame].wrapping_sub(shift)));
    }
    // Libraries that are stripped still have the symbols that others link to.
    let functions =
        file.dynamic_symbols().chain(file.symbols()).filter(|symbol| symbol.kind() == SymbolKind::Text);
    for function in functions {
        let length = function.size();
        let of_it =
            |&&frame: &&usize| addresses[frame].wrapping_sub(shift).wrapping_sub(function.address()) < length;
        for &frame in here.iter().filter(of_it) {
            if let Ok(name) = function.name() {
                names[frame] = Some(format!("{:#}", demangle(name)));
            }
        }
    }
}
