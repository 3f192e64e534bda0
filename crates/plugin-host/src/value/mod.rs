//! Values as C sees them: cells at fixed addresses, in a tree per call.
//!
//! A tree holds raw pairs of keys and values while the plugin works; the array of the language, with
//! its rules for keys and duplicates, is built when the value is taken out. Every address that was
//! handed out stays valid as long as its tree: cells, text, streams, certificates. Threads may use one
//! tree at once; each operation holds its lock.

mod json;
mod stream;

use std::ffi::{c_char, c_int};
use std::sync::Arc;

use foreign_types::ForeignType;
use hsl::Value;
use hsl::value::{Array, Key, Object, Str};
use openssl::pkey::{PKey, Private};
use openssl::x509::X509;
use parking_lot::Mutex;
use plugin_abi::HalonHSLValue;
use plugin_abi::constants::*;

use crate::door::door;
use crate::object::Draft;
use crate::plugin::Plugin;
use crate::text::CText;

pub(crate) use json::{decode, encode};
pub(crate) use plugin_abi::stdio::Stream;
pub(crate) use stream::open as open_stream;

/// The values of one call, or of one context.
pub(crate) struct Tree {
    cells: Mutex<Cells>,
}

#[derive(Default)]
struct Cells {
    /// Whose names NULL function pointers are looked up in.
    plugin: Option<Arc<Plugin>>,
    data: Vec<Data>,
    /// Chunks that never grow beyond their capacity, so that heads stay where they are. Those of the
    /// first chunk are made once; there may be more of them than cells.
    heads: Vec<Vec<Head>>,
    /// Heads in all chunks.
    head_count: usize,
    /// Text that C has pointers to, of cells that were set anew.
    retired: Vec<CText>,
    streams: Vec<(u32, Stream)>,
    certificates: Vec<(u32, X509)>,
    keys: Vec<(u32, PKey<Private>)>,
}

/// What a `HalonHSLValue *` points to.
#[repr(C)]
pub(crate) struct Head {
    tag: u64,
    tree: *const Tree,
    index: u32,
}

// SAFETY: the pointer is to the tree that owns the head, which is `Sync` behind its lock.
unsafe impl Send for Head {}
// SAFETY: as above.
unsafe impl Sync for Head {}

enum Data {
    None,
    Bool(bool),
    Number(f64),
    Text {
        text: CText,
        is_shown: bool,
    },
    Exception(CText),
    /// Cells of keys and values.
    Pairs(Vec<(u32, u32)>),
    /// An object that the plugin is building.
    Draft(Arc<Draft>),
    /// A value of the language that C has not looked into.
    Host(Value),
}

/// What C sets a value to, checked and copied.
pub(crate) enum Setting {
    None,
    Bool(bool),
    Number(f64),
    Text(CText),
    Exception(CText),
    Array,
    Object(Arc<Draft>),
    Host(Value),
}

/// A cell that C named.
#[derive(Clone, Copy)]
pub(crate) struct Cell<'a> {
    tree: &'a Tree,
    index: u32,
}

impl Tree {
    /// Makes a tree with one cell per value, in order.
    pub(crate) fn new(plugin: Option<&Arc<Plugin>>, values: Vec<Value>) -> Arc<Self> {
        let tree = Arc::new(Self::empty());
        let mut cells = tree.cells.lock();
        cells.prepare(plugin, values.len());
        for value in values {
            cells.push(&tree, Data::of(value));
        }
        drop(cells);
        tree
    }

    /// Makes a tree without cells. It is at its place for good before [`Self::refill`].
    pub(crate) fn empty() -> Self {
        Self { cells: Mutex::default() }
    }

    /// Gives an empty tree its first cells: one per value, which it takes, then one of none. They lie
    /// in a row, the first at the address returned.
    ///
    /// # Safety
    ///
    /// Nobody else uses the tree, and it does not move as long as there are pointers to its cells.
    pub(crate) unsafe fn refill(&self, plugin: &Arc<Plugin>, values: &mut [Value]) -> *const Head {
        // SAFETY: the caller vouches for it.
        let cells = unsafe { &mut *self.cells.data_ptr() };
        cells.prepare(Some(plugin), values.len() + 1);
        for value in values {
            cells.push(self, Data::of(value.take()));
        }
        cells.push(self, Data::None);
        cells.heads.first().map_or(std::ptr::null(), Vec::as_ptr)
    }

    /// Takes the value of a cell and does `then` before the lock is given up.
    pub(crate) fn end(&self, index: u32, then: impl FnOnce()) -> Value {
        let mut cells = self.cells.lock();
        let value = match cells.data.get_mut(index as usize) {
            Some(Data::Host(value)) => value.take(),
            _ => cells.value(index, 0),
        };
        then();
        value
    }

    /// Drops all values, keeping room for the cells of a small call.
    ///
    /// # Safety
    ///
    /// Nobody else uses the tree.
    pub(crate) unsafe fn clear(&self) {
        // Without the lock, because the callbacks of a plugin may run here.
        // SAFETY: the caller vouches for it.
        unsafe { &mut *self.cells.data_ptr() }.clear();
    }

    /// Frees the room of a tree without values.
    pub(crate) fn strip(&self) {
        let cells = std::mem::take(&mut *self.cells.lock());
        drop(cells);
    }

    /// The cell at `index`, if there is one.
    pub(crate) fn cell(&self, index: u32) -> Option<Cell<'_>> {
        ((index as usize) < self.cells.lock().data.len()).then_some(Cell { tree: self, index })
    }

    /// Adds a cell holding none, if `test` is true under the lock.
    pub(crate) fn add_if(&self, test: impl FnOnce() -> bool) -> Option<Cell<'_>> {
        let mut cells = self.cells.lock();
        test().then(|| Cell { tree: self, index: cells.push(self, Data::None) })
    }

    /// Takes the value of a cell as one of the language.
    pub(crate) fn value(&self, index: u32) -> Value {
        self.cells.lock().value(index, 0)
    }

    /// The text of a cell that was set to an exception.
    pub(crate) fn exception(&self, index: u32) -> Option<String> {
        match self.cells.lock().data.get(index as usize) {
            Some(Data::Exception(text)) => {
                Some(String::from_utf8_lossy(text.octets()).into_owned())
            }
            _ => None,
        }
    }
}

impl Data {
    fn of(value: Value) -> Self {
        match value {
            Value::None => Self::None,
            Value::Bool(value) => Self::Bool(value),
            Value::Number(value) => Self::Number(value),
            value => Self::Host(value),
        }
    }
}

impl Cells {
    /// Makes room for the first `count` cells, whose heads lie in a row.
    fn prepare(&mut self, plugin: Option<&Arc<Plugin>>, count: usize) {
        // Most often it is the one of the last time.
        if !matches!((&self.plugin, plugin), (Some(old), Some(new)) if Arc::ptr_eq(old, new)) {
            self.plugin = plugin.cloned();
        }
        if self.heads.first().is_none_or(|chunk| chunk.capacity() < count) {
            self.heads = vec![Vec::with_capacity(count.max(MIN_CHUNK))];
            self.head_count = 0;
        }
        self.data.reserve(count);
    }

    fn clear(&mut self) {
        self.data.clear();
        self.retired.clear();
        self.streams.clear();
        self.certificates.clear();
        self.keys.clear();
        self.heads.truncate(1);
        self.head_count = self.heads.first().map_or(0, Vec::len);
        if self.data.capacity() > SPARE_CELLS {
            // What one large call took is not kept for all that follow.
            *self = Self::default();
        }
    }

    #[inline]
    fn push(&mut self, tree: &Tree, data: Data) -> u32 {
        // Four thousand million cells do not fit into memory.
        let index = u32::try_from(self.data.len()).unwrap_or(u32::MAX);
        self.data.push(data);
        if index as usize >= self.head_count {
            self.add_head(Head { tag: TAG, tree, index });
        }
        index
    }

    #[cold]
    fn add_head(&mut self, head: Head) {
        self.head_count += 1;
        let last = self.heads.last_mut().filter(|chunk| chunk.len() < chunk.capacity());
        match last {
            Some(chunk) => chunk.push(head),
            None => {
                let size = (self.data.len()).clamp(MIN_CHUNK, MAX_CHUNK);
                let mut chunk = Vec::with_capacity(size);
                chunk.push(head);
                self.heads.push(chunk);
            }
        }
    }

    fn get(&self, index: u32) -> &Data {
        self.data.get(index as usize).unwrap_or(&Data::None)
    }

    fn head(&self, index: u32) -> *mut HalonHSLValue {
        // Nearly all calls have one chunk.
        if let Some(head) = self.heads.first().and_then(|chunk| chunk.get(index as usize)) {
            return std::ptr::from_ref(head).cast_mut().cast();
        }
        let at = self
            .heads
            .partition_point(|chunk| chunk.first().is_none_or(|head| head.index <= index));
        let head = at
            .checked_sub(1)
            .and_then(|at| self.heads.get(at))
            .and_then(|chunk| chunk.get((index - chunk.first()?.index) as usize));
        head.map_or(std::ptr::null_mut(), |head| std::ptr::from_ref(head).cast_mut().cast())
    }

    fn set(&mut self, index: u32, data: Data) {
        let Some(slot) = self.data.get_mut(index as usize) else { return };
        if let Data::Text { text, is_shown: true } = std::mem::replace(slot, data) {
            self.retired.push(text);
        }
    }

    /// Opens an array of the language into cells. Gives the pairs, if the cell is an array.
    fn pairs(&mut self, tree: &Tree, index: u32) -> Option<&mut Vec<(u32, u32)>> {
        let slot = self.data.get_mut(index as usize)?;
        if let Data::Host(Value::Array(array)) = slot {
            let array = array.clone();
            let mut pairs = Vec::with_capacity(array.len());
            for (key, value) in array.iter() {
                let key = self.push(tree, Data::of(key.to_value()));
                let value = self.push(tree, Data::of(value.clone()));
                pairs.push((key, value));
            }
            self.set(index, Data::Pairs(pairs));
        }
        match self.data.get_mut(index as usize)? {
            Data::Pairs(pairs) => Some(pairs),
            _ => None,
        }
    }

    fn value(&self, index: u32, depth: usize) -> Value {
        match self.get(index) {
            Data::None => Value::None,
            Data::Bool(value) => Value::Bool(*value),
            Data::Number(value) => Value::Number(*value),
            Data::Text { text, .. } | Data::Exception(text) => {
                Value::String(Str::new(text.octets()))
            }
            Data::Pairs(_) if depth >= MAX_DEPTH => {
                tracing::warn!(depth, "plugin.array_too_deep");
                Value::None
            }
            Data::Pairs(pairs) => {
                let mut array = Array::with_capacity(pairs.len());
                for (key, value) in pairs {
                    let value = self.value(*value, depth + 1);
                    match self.value(*key, MAX_DEPTH) {
                        // A key that was never set: the next number.
                        Value::None => {
                            array.push(value);
                        }
                        key => {
                            array.insert(Key::from_value(&key), value);
                        }
                    }
                }
                Value::Array(array)
            }
            Data::Draft(draft) => draft.object().map_or(Value::None, Value::Object),
            Data::Host(value) => value.clone(),
        }
    }

    /// Whether the key in cell `index` is `wanted`: as text, or as the number that it spells.
    fn is_key(&self, index: u32, wanted: &[u8]) -> bool {
        match self.get(index) {
            Data::Text { text, .. } => text.octets() == wanted,
            Data::Host(Value::String(text)) => text.as_bytes() == wanted,
            Data::Number(number) => hsl::ops::to_text(&Value::Number(*number)).as_bytes() == wanted,
            _ => false,
        }
    }
}

impl<'a> Cell<'a> {
    /// Finds the cell that C means; `None` for NULL.
    ///
    /// # Safety
    ///
    /// `value` is NULL or came from a tree that lives through `'a`.
    pub(crate) unsafe fn from_raw(value: *const HalonHSLValue) -> Option<Self> {
        let head = value.cast::<Head>();
        if head.is_null() || !head.is_aligned() {
            return None;
        }
        // SAFETY: the caller keeps the contract; heads stay where they are as long as their tree.
        let head = unsafe { &*head };
        if head.tag != TAG {
            return None;
        }
        // SAFETY: the tree owns the head, so it lives.
        Some(Self { tree: unsafe { &*head.tree }, index: head.index })
    }

    pub(crate) fn as_ptr(self) -> *mut HalonHSLValue {
        self.tree.cells.lock().head(self.index)
    }

    pub(crate) fn index(self) -> u32 {
        self.index
    }

    /// The plugin whose call this value belongs to.
    fn plugin(self) -> Option<Arc<Plugin>> {
        self.tree.cells.lock().plugin.clone()
    }

    /// The type, as `HALONMTA_HSL_TYPE_*`.
    pub(crate) fn kind(self) -> c_int {
        let value = match self.tree.cells.lock().get(self.index) {
            Data::None => return HALONMTA_HSL_TYPE_NONE,
            Data::Bool(_) => return HALONMTA_HSL_TYPE_BOOLEAN,
            Data::Number(_) => return HALONMTA_HSL_TYPE_NUMBER,
            Data::Text { .. } => return HALONMTA_HSL_TYPE_STRING,
            Data::Exception(_) => return HALONMTA_HSL_TYPE_EXCEPTION,
            Data::Pairs(_) => return HALONMTA_HSL_TYPE_ARRAY,
            Data::Draft(_) => return HALONMTA_HSL_TYPE_OBJECT,
            Data::Host(value) => value.clone(),
        };
        match &value {
            Value::String(_) => HALONMTA_HSL_TYPE_STRING,
            Value::Array(_) => HALONMTA_HSL_TYPE_ARRAY,
            Value::Object(_) | Value::Resource(_) => {
                // What a resource is only the program knows: ask without the lock.
                let services = door().services().values;
                let is = |test: &dyn Fn(&dyn crate::ValueServices) -> bool| {
                    services.as_deref().is_some_and(test)
                };
                if is(&|services| services.file(&value).is_some()) {
                    HALONMTA_HSL_TYPE_FILE
                } else if is(&|services| services.x509(&value).is_some()) {
                    HALONMTA_HSL_TYPE_X509
                } else if is(&|services| services.private_key(&value).is_some()) {
                    HALONMTA_HSL_TYPE_PRIVATEKEY
                } else if matches!(value, Value::Object(_)) {
                    HALONMTA_HSL_TYPE_OBJECT
                } else {
                    HALONMTA_HSL_TYPE_NONE
                }
            }
            _ => HALONMTA_HSL_TYPE_NONE,
        }
    }

    pub(crate) fn boolean(self) -> Option<bool> {
        match self.tree.cells.lock().get(self.index) {
            Data::Bool(value) => Some(*value),
            _ => None,
        }
    }

    pub(crate) fn number(self) -> Option<f64> {
        match self.tree.cells.lock().get(self.index) {
            Data::Number(value) => Some(*value),
            _ => None,
        }
    }

    /// The text with its length, at an address that stays; a NUL stands behind it.
    pub(crate) fn text(self) -> Option<(*const c_char, usize)> {
        let mut cells = self.tree.cells.lock();
        if let Data::Host(Value::String(text)) = cells.get(self.index) {
            let text = CText::new(text);
            cells.set(self.index, Data::Text { text, is_shown: true });
        }
        match cells.data.get_mut(self.index as usize)? {
            Data::Text { text, is_shown } => {
                *is_shown = true;
                Some((text.as_ptr(), text.octets().len()))
            }
            _ => None,
        }
    }

    /// The stream over a file value, opened once.
    pub(crate) fn file(self) -> Option<*mut libc::FILE> {
        let value = self.host_value()?;
        let content = door().services().values?.file(&value)?;
        let mut cells = self.tree.cells.lock();
        if let Some((_, stream)) = cells.streams.iter().find(|(index, _)| *index == self.index) {
            return Some(stream.as_ptr());
        }
        let stream = open_stream(content)?;
        let pointer = stream.as_ptr();
        cells.streams.push((self.index, stream));
        Some(pointer)
    }

    /// The certificate of a value, borrowed by C.
    pub(crate) fn x509(self) -> Option<*mut std::ffi::c_void> {
        let value = self.host_value()?;
        let certificate = door().services().values?.x509(&value)?;
        let pointer = certificate.as_ptr();
        self.tree.cells.lock().certificates.push((self.index, certificate));
        Some(pointer.cast())
    }

    /// The private key of a value, borrowed by C.
    pub(crate) fn private_key(self) -> Option<*mut std::ffi::c_void> {
        let value = self.host_value()?;
        let key = door().services().values?.private_key(&value)?;
        let pointer = key.as_ptr();
        self.tree.cells.lock().keys.push((self.index, key));
        Some(pointer.cast())
    }

    fn host_value(self) -> Option<Value> {
        match self.tree.cells.lock().get(self.index) {
            Data::Host(value @ (Value::Object(_) | Value::Resource(_))) => Some(value.clone()),
            _ => None,
        }
    }

    /// Replaces the value.
    #[inline]
    pub(crate) fn set(self, setting: Setting) {
        let data = match setting {
            Setting::None => Data::None,
            Setting::Bool(value) => Data::Bool(value),
            Setting::Number(value) => Data::Number(value),
            Setting::Text(text) => Data::Text { text, is_shown: false },
            Setting::Exception(text) => Data::Exception(text),
            Setting::Array => Data::Pairs(Vec::new()),
            Setting::Object(draft) => {
                draft.look_up_names(self.plugin().as_ref());
                Data::Draft(draft)
            }
            Setting::Host(value) => Data::of(value),
        };
        let mut cells = self.tree.cells.lock();
        cells.set(self.index, data);
    }

    /// The number of pairs; 0 if this is no array.
    pub(crate) fn length(self) -> usize {
        match self.tree.cells.lock().get(self.index) {
            Data::Pairs(pairs) => pairs.len(),
            Data::Host(Value::Array(array)) => array.len(),
            _ => 0,
        }
    }

    /// The key and the value at a position.
    pub(crate) fn pair(self, at: usize) -> Option<(Self, Self)> {
        let mut cells = self.tree.cells.lock();
        let (key, value) = *cells.pairs(self.tree, self.index)?.get(at)?;
        Some((self.sibling(key), self.sibling(value)))
    }

    /// The value of a key. Of several equal ones the last counts, as when the array is built.
    pub(crate) fn find(self, wanted: &[u8]) -> Option<Self> {
        let mut cells = self.tree.cells.lock();
        let pairs = std::mem::take(cells.pairs(self.tree, self.index)?);
        let found = pairs.iter().rev().find(|(key, _)| cells.is_key(*key, wanted)).copied();
        if let Some(known) = cells.pairs(self.tree, self.index) {
            *known = pairs;
        }
        found.map(|(_, value)| self.sibling(value))
    }

    /// Adds a pair of nones; none becomes an array. `None` if this is anything else.
    pub(crate) fn add_pair(self) -> Option<(Self, Self)> {
        let mut cells = self.tree.cells.lock();
        if matches!(cells.get(self.index), Data::None) {
            cells.set(self.index, Data::Pairs(Vec::new()));
        }
        cells.pairs(self.tree, self.index)?;
        let key = cells.push(self.tree, Data::None);
        let value = cells.push(self.tree, Data::None);
        cells.pairs(self.tree, self.index)?.push((key, value));
        Some((self.sibling(key), self.sibling(value)))
    }

    /// The value as one of the language.
    pub(crate) fn to_value(self) -> Value {
        self.tree.value(self.index)
    }

    fn sibling(self, index: u32) -> Self {
        Self { tree: self.tree, index }
    }
}

/// Makes the value that scripts see for a certificate of a plugin.
pub(crate) fn certificate_value(certificate: X509) -> Value {
    match door().services().values {
        Some(services) => services.x509_value(certificate),
        None => Value::Resource(hsl::value::Resource::new("X509Resource", certificate)),
    }
}

/// The object of a method call, as a setting.
pub(crate) fn this_setting(this: Option<Object>) -> Option<Setting> {
    this.map(|object| Setting::Host(Value::Object(object)))
}

/// Marks a head.
const TAG: u64 = 0x4d54_4176_616c_7565;

/// Heads per chunk: a few for small calls, at most a page or six.
const MIN_CHUNK: usize = 8;
const MAX_CHUNK: usize = 1024;

/// Cells of a call whose tree is used again.
const SPARE_CELLS: usize = 64;

/// How deep arrays may nest when they become values of the language.
const MAX_DEPTH: usize = 500;

#[cfg(test)]
mod tests;
