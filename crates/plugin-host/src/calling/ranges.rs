//! Which plugin an address belongs to: a table of load ranges, readable in a signal handler.
//!
//! `dladdr` takes locks of the dynamic linker, which the thread that crashed may hold. The table is
//! made when a library is loaded; libraries are never unloaded, and neither is a table.

use std::ffi::{c_int, c_void};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicPtr, Ordering};

use parking_lot::Mutex;

type Table = Vec<(Range<usize>, Arc<str>)>;

/// The newest table; NULL before the first plugin.
static TABLE: AtomicPtr<Table> = AtomicPtr::new(std::ptr::null_mut());

/// Notes the segments of the library that holds `address`, as those of the plugin `id`.
pub(crate) fn note(id: &Arc<str>, address: usize) {
    static WRITING: Mutex<()> = Mutex::new(());
    let _writing = WRITING.lock();
    let mut search = Search { address, found: Vec::new() };
    // SAFETY: the function gets the pointer it expects, and is not kept.
    unsafe { libc::dl_iterate_phdr(Some(look), (&raw mut search).cast()) };
    let mut table = table().cloned().unwrap_or_default();
    table.extend(search.found.into_iter().map(|range| (range, Arc::clone(id))));
    // Leaked: a handler may be reading the one before.
    TABLE.store(Box::into_raw(Box::new(table)), Ordering::Release);
}

/// The plugin whose library holds `address`. Safe in a signal handler.
pub(crate) fn owner(address: usize) -> Option<&'static str> {
    let (_, id) = table()?.iter().find(|(range, _)| range.contains(&address))?;
    Some(id)
}

fn table() -> Option<&'static Table> {
    // SAFETY: NULL, or a table that was leaked.
    unsafe { TABLE.load(Ordering::Acquire).as_ref() }
}

struct Search {
    address: usize,
    found: Vec<Range<usize>>,
}

/// Called for every library: keeps the segments of the one with the address.
unsafe extern "C" fn look(
    info: *mut libc::dl_phdr_info,
    _size: usize,
    search: *mut c_void,
) -> c_int {
    // SAFETY: the dynamic linker gives a library whose headers stay mapped; `search` is ours.
    let (info, search) = unsafe { (&*info, &mut *search.cast::<Search>()) };
    if info.dlpi_phdr.is_null() {
        return 0;
    }
    // SAFETY: as above.
    let headers =
        unsafe { std::slice::from_raw_parts(info.dlpi_phdr, usize::from(info.dlpi_phnum)) };
    let segments: Vec<_> = headers
        .iter()
        .filter(|header| header.p_type == libc::PT_LOAD)
        .map(|header| {
            let start = (info.dlpi_addr as usize).wrapping_add(header.p_vaddr as usize);
            start..start.wrapping_add(header.p_memsz as usize)
        })
        .collect();
    let is_it = segments.iter().any(|range| range.contains(&search.address));
    if is_it {
        search.found = segments;
    }
    c_int::from(is_it)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_this_program() {}

    #[test]
    fn an_address_belongs_to_the_library_that_was_noted() {
        let address = of_this_program as fn() as usize;
        note(&Arc::from("myself"), address);
        assert_eq!(owner(address), Some("myself"));
        let other = libc::getpid as unsafe extern "C" fn() -> libc::pid_t as usize;
        assert_eq!(owner(other), None, "the C library is another one");
        assert_eq!(owner(0), None);
    }
}
