//! From a copy of a stack to the addresses that its functions return to.
//!
//! By the tables for unwinding that each binary carries (`.eh_frame`), read from the files that the process was loaded from.
//! Where there is no table the frame pointer is followed, and where that leads nowhere the walk ends.

use framehop::{ExplicitModuleSectionInfo, Module, Unwinder};
use object::{Object, ObjectSection};

use super::{
    binaries::Binary,
    signal::{Registers, Snapshot},
};

#[cfg(target_arch = "aarch64")]
use framehop::aarch64::{CacheAarch64 as Cache, UnwindRegsAarch64, UnwinderAarch64 as Walker};
#[cfg(target_arch = "x86_64")]
use framehop::x86_64::{CacheX86_64 as Cache, UnwindRegsX86_64, UnwinderX86_64 as Walker};

/// No report is longer.
const MOST_FRAMES: usize = 128;

/// The next instruction, and then the calls that have led there; innermost first.
pub(super) fn addresses(Snapshot { registers, stack }: &Snapshot, binaries: &[Binary]) -> Vec<u64> {
    let mut walker = Walker::new();
    binaries.iter().filter_map(module).for_each(|module| walker.add_module(module));
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
        addresses.push(frame.address_for_lookup());
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

/// The tables of a binary; `None` where they cannot be read.
fn module(binary: &Binary) -> Option<Module<Vec<u8>>> {
    binary.read(|file, shift| {
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
        Some(Module::new(binary.path.clone(), binary.addresses.clone(), shift, tables))
    })
}
