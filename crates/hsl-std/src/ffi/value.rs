//! Values of C in the hands of scripts: eight octets with a type, and who frees what they point to.

use std::ffi::c_void;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use hsl::host::Thrown;
use hsl::value::{Resource, Value};
use parking_lot::Mutex;

use super::function::CFunction;
use super::types::CType;

/// The cell behind an `FFIValue`.
pub(super) struct ForeignValue {
    kind: CType,
    /// The octets. C may write here through `FFI::byref`, hence an atomic.
    storage: AtomicU64,
    owner: Mutex<Option<Arc<Owner>>>,
    /// The cell that this one points to, kept alive.
    referent: Option<Arc<Self>>,
}

impl ForeignValue {
    /// A value of a type.
    pub(super) fn new(kind: CType, octets: [u8; 8]) -> Arc<Self> {
        Arc::new(Self {
            kind,
            storage: AtomicU64::new(u64::from_le_bytes(octets)),
            owner: Mutex::new(None),
            referent: None,
        })
    }

    /// A pointer that owns nothing.
    pub(super) fn pointer(address: usize) -> Arc<Self> {
        Self::new(CType::Pointer, (address as u64).to_le_bytes())
    }

    /// A pointer that frees what it points to.
    pub(super) fn owning(address: usize, owner: Owner) -> Arc<Self> {
        let value = Self::pointer(address);
        *value.owner.lock() = Some(Arc::new(owner));
        value
    }

    /// The pointer to the octets of `value`, which it keeps alive.
    pub(super) fn reference_to(value: &Arc<Self>) -> Arc<Self> {
        let address = value.storage.as_ptr() as usize;
        Arc::new(Self {
            kind: CType::Pointer,
            storage: AtomicU64::new(address as u64),
            owner: Mutex::new(None),
            referent: Some(Arc::clone(value)),
        })
    }

    /// A pointer some octets further, which shares what this one owns.
    pub(super) fn offset(&self, by: i64) -> Result<Arc<Self>, Thrown> {
        let address = (self.address()? as u64).wrapping_add_signed(by);
        Ok(Arc::new(Self {
            kind: CType::Pointer,
            storage: AtomicU64::new(address),
            owner: Mutex::new(self.owner.lock().clone()),
            referent: self.referent.clone(),
        }))
    }

    /// Reads a cell out of a value of the script.
    pub(super) fn of(value: Option<&Value>) -> Result<Arc<Self>, Thrown> {
        Self::find(value).ok_or_else(|| Thrown::new("FFI needs a value made by FFI"))
    }

    /// As [`Self::of`]; `None` for other values.
    pub(super) fn find(value: Option<&Value>) -> Option<Arc<Self>> {
        let cell = value?.as_resource()?.get::<Arc<Self>>()?;
        Some(Arc::clone(&cell))
    }

    pub(super) fn to_value(self: &Arc<Self>) -> Value {
        Value::Resource(Resource::new("FFIValue", Arc::clone(self)))
    }

    pub(super) fn kind(&self) -> CType {
        self.kind
    }

    pub(super) fn octets(&self) -> [u8; 8] {
        self.storage.load(Ordering::Relaxed).to_le_bytes()
    }

    /// Where it points to.
    ///
    /// # Errors
    ///
    /// When it is no pointer.
    pub(super) fn address(&self) -> Result<usize, Thrown> {
        if self.kind != CType::Pointer {
            let kind = self.kind.name();
            return Err(Thrown::new(format!("FFI needs a pointer, {kind} given")));
        }
        Ok(self.storage.load(Ordering::Relaxed) as usize)
    }

    /// Where it points to, `octets` of which are to be used.
    ///
    /// # Errors
    ///
    /// When it is no pointer, NULL, or owned memory ends before.
    pub(super) fn range(&self, octets: usize) -> Result<*mut u8, Thrown> {
        let address = self.address()?;
        if address == 0 {
            return Err(Thrown::new("FFI cannot follow a NULL pointer"));
        }
        if let Some(owner) = &*self.owner.lock()
            && let Some(size) = owner.size
            && owner.is_armed()
        {
            let used = address.wrapping_sub(owner.address).checked_add(octets);
            if used.is_none_or(|used| used > size) {
                return Err(Thrown::new("FFI cannot reach beyond the allocated memory"));
            }
        }
        Ok(address as *mut u8)
    }

    /// Octets from here to the end of owned memory, where that is known.
    pub(super) fn room(&self) -> Option<usize> {
        let owner = self.owner.lock();
        let owner = owner.as_ref().filter(|owner| owner.is_armed())?;
        let used = (self.storage.load(Ordering::Relaxed) as usize).checked_sub(owner.address)?;
        owner.size?.checked_sub(used)
    }

    /// Makes it the owner of what it points to.
    pub(super) fn attach(&self, destructor: Option<Arc<CFunction>>) -> Result<(), Thrown> {
        let address = self.address()?;
        let free = destructor.map_or(Free::Malloc, Free::Function);
        let old = self.owner.lock().replace(Arc::new(Owner::new(address, None, free)));
        if let Some(old) = old {
            // The same memory must not be freed twice.
            old.disarm();
        }
        Ok(())
    }

    /// Leaves what it points to to somebody else.
    pub(super) fn detach(&self) {
        if let Some(owner) = self.owner.lock().take() {
            owner.disarm();
        }
    }
}

/// Frees something when the last value that shares it goes away.
pub(super) struct Owner {
    address: usize,
    /// Octets, where we allocated them.
    size: Option<usize>,
    is_armed: AtomicBool,
    free: Free,
}

/// How something is freed.
pub(super) enum Free {
    /// By `free`.
    Malloc,
    /// By a function of the library.
    Function(Arc<CFunction>),
    /// By dropping what keeps it.
    Keeper(#[expect(dead_code, reason = "held to be dropped")] Box<dyn Send + Sync>),
}

impl Owner {
    pub(super) fn new(address: usize, size: Option<usize>, free: Free) -> Self {
        Self { address, size, is_armed: AtomicBool::new(true), free }
    }

    fn is_armed(&self) -> bool {
        self.is_armed.load(Ordering::Relaxed)
    }

    fn disarm(&self) {
        self.is_armed.store(false, Ordering::Relaxed);
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        if !self.is_armed() || self.address == 0 {
            return;
        }
        match &self.free {
            // SAFETY: the script says that this memory is its own and of `malloc`.
            Free::Malloc => unsafe { libc::free(self.address as *mut c_void) },
            Free::Function(function) => {
                let pointer = (self.address as u64).to_le_bytes();
                function.call_raw(&[CType::Pointer], &[pointer]);
            }
            Free::Keeper(_) => {}
        }
    }
}

/// Zeroed memory of the C library; `None` when there is none.
pub(super) fn allocate(size: usize) -> Option<Arc<ForeignValue>> {
    // SAFETY: any size may be asked for; NULL is checked.
    let memory = unsafe { libc::calloc(size.max(1), 1) };
    let owner = Owner::new(memory as usize, Some(size), Free::Malloc);
    (!memory.is_null()).then(|| ForeignValue::owning(memory as usize, owner))
}

/// A terminated copy of `text`.
pub(super) fn c_string(text: &[u8]) -> Option<Arc<ForeignValue>> {
    let value = allocate(text.len() + 1)?;
    copy_to(value.range(text.len()).ok()?, text);
    Some(value)
}

/// Copies into memory that the script vouches for.
pub(super) fn copy_to(target: *mut u8, octets: &[u8]) {
    // SAFETY: the script gave a pointer to at least that much memory; where its size is known, the
    // caller has compared it.
    unsafe { std::ptr::copy(octets.as_ptr(), target, octets.len()) };
}

/// Copies out of memory that the script vouches for.
pub(super) fn copy_from(source: *const u8, octets: usize) -> Vec<u8> {
    let mut copy = vec![0; octets];
    // SAFETY: as in `copy_to`.
    unsafe { std::ptr::copy(source, copy.as_mut_ptr(), octets) };
    copy
}

/// The length of a terminated string, `most` octets at most.
pub(super) fn string_length(source: *const u8, most: usize) -> usize {
    // SAFETY: the script gave a pointer to a terminated string.
    unsafe { libc::strnlen(source.cast(), most) }
}
