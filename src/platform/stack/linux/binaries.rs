//! The files that the code of this process was loaded from, and where each of them lies.

use std::{
    fs::{self, File},
    ops::Range,
};

use object::{Object, ObjectSegment, ReadCache, SegmentFlags, elf::PF_X};

/// The largest page that there is on these machines.
const PAGE: u64 = 64 << 10;

/// A file, or a part of it, that is mapped for execution.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Binary {
    pub(super) addresses: Range<u64>,
    /// Where in the file that begins.
    offset: u64,
    pub(super) path: String,
}

impl Binary {
    /// All that there are at this moment.
    pub(super) fn all() -> Vec<Self> {
        of(&fs::read_to_string("/proc/self/maps").unwrap_or_default())
    }

    /// Gives what `read` finds in the file, which is told how much higher the code lies than the file says; `None` where
    /// it cannot be read. A file that was replaced since leads to a wrong report, as it does in a debugger.
    pub(super) fn read<T>(
        &self,
        read: impl FnOnce(&object::File<'_, &ReadCache<File>>, u64) -> Option<T>,
    ) -> Option<T> {
        let cache = ReadCache::new(File::open(&self.path).ok()?);
        let file = object::File::parse(&cache).ok()?;
        // A mapping begins with the page in which its segment does.
        let segment = file.segments().find(|segment| {
            let (from, length) = segment.file_range();
            let holds = from - from % PAGE <= self.offset && self.offset < from + length;
            holds && is_executable(segment.flags())
        })?;
        let begins = segment.address().wrapping_add(self.offset).wrapping_sub(segment.file_range().0);
        read(&file, self.addresses.start.wrapping_sub(begins))
    }
}

fn is_executable(flags: SegmentFlags) -> bool {
    matches!(flags, SegmentFlags::Elf { p_flags, .. } if p_flags.0 & PF_X.0 != 0)
}

/// Those in a list of the kernel's: `address-address permissions offset device inode path`.
fn of(maps: &str) -> Vec<Binary> {
    let binary = |line: &str| {
        let mut words = line.splitn(6, ' ');
        let (begin, end) = words.next()?.split_once('-')?;
        let executable = words.next()?.contains('x');
        let offset = u64::from_str_radix(words.next()?, 16).ok()?;
        let path = words.nth(2)?.trim_start();
        let addresses = u64::from_str_radix(begin, 16).ok()?..u64::from_str_radix(end, 16).ok()?;
        (executable && path.starts_with('/')).then(|| Binary { addresses, offset, path: path.to_owned() })
    };
    maps.lines().filter_map(binary).collect()
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
        let addresses = 0x5581_a001_0000..0x5581_a003_0000;
        assert_eq!(
            of(maps),
            [Binary { addresses, offset: 0x10000, path: "/usr/bin/mill stream".to_owned() }]
        );
    }
}
