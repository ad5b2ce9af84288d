//! From a copy of a stack to the addresses that its functions return to.
//!
//! By the tables for unwinding that each binary carries (`.eh_frame`), read from the files that the process was loaded from.
//! Where there is no table the frame pointer is followed, and where that leads nowhere the walk ends.

use std::{fs, fs::File, ops::Range};

use framehop::{ExplicitModuleSectionInfo, Module, Unwinder};
use object::{Object, ObjectSection, ObjectSegment, ReadCache};

use super::signal::{Registers, Snapshot};

#[cfg(target_arch = "aarch64")]
use framehop::aarch64::{CacheAarch64 as Cache, UnwindRegsAarch64, UnwinderAarch64 as Walker};
#[cfg(target_arch = "x86_64")]
use framehop::x86_64::{CacheX86_64 as Cache, UnwindRegsX86_64, UnwinderX86_64 as Walker};

/// No report is longer.
const MOST_FRAMES: usize = 128;

/// The next instruction, and then where each function goes on when what it has called returns; innermost first. Each is one
/// byte behind the instruction that it stands for, as return addresses are.
pub(super) fn addresses(Snapshot { registers, stack }: &Snapshot) -> Vec<u64> {
    let mut walker = Walker::new();
    let maps = fs::read_to_string("/proc/self/maps").unwrap_or_default();
    executable_mappings(&maps)
        .filter_map(|mapping| module(&mapping))
        .for_each(|module| walker.add_module(module));
    let mut read = |address: u64| {
        let from = usize::try_from(address.checked_sub(registers.sp).ok_or(())?).map_err(|_| ())?;
        let word = stack.get(from..).and_then(|rest| rest.first_chunk()).ok_or(())?;
        Ok(u64::from_ne_bytes(*word))
    };
    let mut cache = Cache::<_>::new();
    let mut frames = walker.iter_frames(registers.pc, as_needed(*registers), &mut cache, &mut read);
    let mut addresses = Vec::new();
    while addresses.len() < MOST_FRAMES
        && let Ok(Some(frame)) = frames.next()
    {
        addresses.push(frame.address_for_lookup() + 1);
    }
    addresses
}

#[cfg(target_arch = "x86_64")]
fn as_needed(Registers { pc, sp, fp, .. }: Registers) -> UnwindRegsX86_64 {
    UnwindRegsX86_64::new(pc, sp, fp)
}

#[cfg(target_arch = "aarch64")]
fn as_needed(Registers { sp, fp, lr, .. }: Registers) -> UnwindRegsAarch64 {
    // Return addresses may be signed above the 48 bits of an address.
    UnwindRegsAarch64::new_with_ptr_auth_mask(
        framehop::aarch64::PtrAuthMask::from_max_known_address((1 << 48) - 1),
        lr,
        sp,
        fp,
    )
}

/// A part of a file that is mapped for execution.
#[derive(Debug, PartialEq, Eq)]
struct Mapping<'a> {
    addresses: Range<u64>,
    /// Where in the file it begins.
    offset: u64,
    path: &'a str,
}

/// Those in a list of the kernel's: `address-address permissions offset device inode path`.
fn executable_mappings(maps: &str) -> impl Iterator<Item = Mapping<'_>> {
    maps.lines().filter_map(|line| {
        let mut words = line.splitn(6, ' ');
        let (begin, end) = words.next()?.split_once('-')?;
        let executable = words.next()?.contains('x');
        let offset = u64::from_str_radix(words.next()?, 16).ok()?;
        let path = words.nth(2)?.trim_start();
        let addresses = u64::from_str_radix(begin, 16).ok()?..u64::from_str_radix(end, 16).ok()?;
        (executable && path.starts_with('/')).then_some(Mapping { addresses, offset, path })
    })
}

/// The tables of the file behind a mapping; `None` where it cannot be read.
fn module(Mapping { addresses, offset, path }: &Mapping<'_>) -> Option<Module<Vec<u8>>> {
    let file = ReadCache::new(File::open(path).ok()?);
    let file = object::File::parse(&file).ok()?;
    // How far from where the file says that it belongs it lies.
    let segment = file.segments().find(|segment| {
        let (from, length) = segment.file_range();
        (from..from + length).contains(offset)
    })?;
    let place = segment.address() + (offset - segment.file_range().0);
    let shift = addresses.start.wrapping_sub(place);
    let section = |name| file.section_by_name(name);
    let range = |name| section(name).map(|section| section.address()..section.address() + section.size());
    let data = |name| Some(section(name)?.data().ok()?.to_vec());
    let tables = ExplicitModuleSectionInfo {
        base_svma: 0,
        text_svma: range(".text"),
        got_svma: range(".got"),
        eh_frame_svma: range(".eh_frame"),
        eh_frame: data(".eh_frame"),
        eh_frame_hdr_svma: range(".eh_frame_hdr"),
        eh_frame_hdr: data(".eh_frame_hdr"),
        ..ExplicitModuleSectionInfo::default()
    };
    Some(Module::new((*path).to_owned(), addresses.clone(), shift, tables))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_the_kernels_list_what_is_executable_and_a_file_is_taken() {
        let maps = "\
5581a0000000-5581a0010000 r--p 00000000 fd:01 123                        /usr/bin/mill stream
5581a0010000-5581a0030000 r-xp 00010000 fd:01 123                        /usr/bin/mill stream
7ffd0000-7ffe0000 rw-p 00000000 00:00 0                                  [stack]
7fff0000-7fff1000 r-xp 00000000 00:00 0                                  [vdso]
8fff0000-8fff1000 r-xp 00000000 00:00 0 
";
        let found: Vec<_> = executable_mappings(maps).collect();
        let addresses = 0x5581_a001_0000..0x5581_a003_0000;
        assert_eq!(found, [Mapping { addresses, offset: 0x10000, path: "/usr/bin/mill stream" }]);
    }
}
