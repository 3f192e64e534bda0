//! File and HTTP chapter: the class `File` over any [`FileContent`].
//!
//! A file is a position in content that does not change; two `File` objects over one resource have
//! a position each. `http` is registered with the HTTP client.

use std::sync::Arc;

use hsl::host::{CallContext, ClassBuilder, Registry, Thrown};
use hsl::value::{Resource, Value};
use parking_lot::Mutex;

use crate::args;
use crate::ffi;
use crate::services::{FileContent, Services};

/// Registers the chapter.
pub(crate) fn register(registry: &mut Registry, services: &Services) {
    registry.class("File", "a file to read from", |class| file_class(class, services));
}

/// The resource that scripts give to `File()`, such as `$message["file"]["original"]`.
pub fn file_resource(content: Arc<dyn FileContent>) -> Value {
    Value::Resource(Resource::new("FileResource", FileResource(content)))
}

/// The content behind a resource that [`file_resource`] made; `None` for other values.
pub fn content_of_resource(value: &Value) -> Option<Arc<dyn FileContent>> {
    let Value::Resource(resource) = value else { return None };
    Some(Arc::clone(&resource.get::<FileResource>()?.0))
}

/// A `File` object over `content`, as `toFile()` of other classes gives it.
///
/// # Errors
///
/// When the class `File` is not registered in the context's set, or the content is in memory and more
/// than the script may use.
pub fn file_object(
    ctx: &mut CallContext<'_>,
    content: Arc<dyn FileContent>,
) -> Result<Value, Thrown> {
    ctx.charge_memory(content.memory())?;
    ctx.instance_of("File", FileState::new(content))
}

/// The content of a `File` object and its position; `None` for other values and closed files.
pub fn content_of_file(value: &Value) -> Option<(Arc<dyn FileContent>, u64)> {
    let state = value.as_object()?.state::<FileState>()?;
    let inner = state.inner.lock();
    Some((Arc::clone(inner.content.as_ref()?), inner.position))
}

struct FileResource(Arc<dyn FileContent>);

struct FileState {
    inner: Mutex<Inner>,
}

struct Inner {
    /// `None` once closed.
    content: Option<Arc<dyn FileContent>>,
    position: u64,
    /// Octets of the content from `buffer_start` on, for `readline`.
    buffer: Vec<u8>,
    buffer_start: u64,
    /// The stream that C got.
    stream: Option<Value>,
}

impl FileState {
    fn new(content: Arc<dyn FileContent>) -> Self {
        let content = Some(content);
        let inner =
            Inner { content, position: 0, buffer: Vec::new(), buffer_start: 0, stream: None };
        Self { inner: Mutex::new(inner) }
    }
}

fn file_class(class: &mut ClassBuilder, services: &Services) {
    class.measure_with(|file: &FileState, measure| {
        let inner = file.inner.lock();
        measure.octets(inner.buffer.capacity());
        if let Some(content) = &inner.content {
            measure.shared(content, || content.memory());
        }
        if let Some(stream) = &inner.stream {
            measure.value(stream);
        }
    });
    let files = Arc::clone(&services.files);
    class.constructor(
        "File(FileResource or string fileresource) -> File or none",
        "opens a file resource, or a file by name",
        move |ctx, args| {
            let content = match args.first() {
                Some(resource @ Value::Resource(_)) => {
                    let content = content_of_resource(resource);
                    Some(content.ok_or_else(|| Thrown::new("File() needs a FileResource"))?)
                }
                _ => files.open(args::bytes(args, 0)),
            };
            match content {
                Some(content) => ctx.new_object(FileState::new(content)),
                None => Ok(Value::None),
            }
        },
    );
    let files = Arc::clone(&services.files);
    let is_ffi_allowed = services.ffi;
    class
        .static_function(
            "read(string filename) -> string or none",
            "the whole content of a file",
            move |ctx, args| {
                let Some(content) = files.open(args::bytes(args, 0)) else {
                    return Ok::<_, Thrown>(Value::None);
                };
                let mut inner = FileState::new(content).inner.into_inner();
                inner.read(ctx, None)
            },
        )
        .static_function("String(string data) -> File", "a file over a string", |ctx, args| {
            let data = args::bytes(args, 0);
            ctx.charge_memory(data.len())?;
            let data = data.to_vec();
            ctx.new_object(FileState::new(Arc::new(data)))
        })
        .method(
            "read([number length]) -> string or none",
            "at most length bytes, or all the rest; empty at the end",
            |ctx, args| {
                let length = args::number_opt(args, 0).map(|length| length.max(0.0) as u64);
                let file = ctx.state_of_this::<FileState>()?;
                let mut inner = file.inner.lock();
                inner.read(ctx, length)
            },
        )
        .method(
            "readline() -> string, boolean or none",
            "the next line without its end; false at the end",
            |ctx, _| {
                let file = ctx.state_of_this::<FileState>()?;
                let mut inner = file.inner.lock();
                inner.readline(ctx)
            },
        )
        .method(
            "seek(number offset, string whence = \"SEEK_SET\") -> number or none",
            "moves the position; the new one",
            |ctx, args| {
                let offset = args::integer(args, 0);
                let file = ctx.state_of_this::<FileState>()?;
                let mut inner = file.inner.lock();
                inner.seek(offset, args::bytes(args, 1))
            },
        )
        .method("tell() -> number or none", "the position", |ctx, _| {
            let file = ctx.state_of_this::<FileState>()?;
            let inner = file.inner.lock();
            Ok::<_, Thrown>(inner.content.as_ref().map(|_| inner.position as f64))
        })
        .method("getPath() -> string or none", "the path on disk, if there is one", |ctx, _| {
            let file = ctx.state_of_this::<FileState>()?;
            let inner = file.inner.lock();
            let path = inner.content.as_ref().and_then(|content| content.path());
            let path = path.map(|path| path.as_os_str().as_encoded_bytes());
            Ok::<_, Thrown>(path.map(Value::from))
        })
        .method(
            "toFFIValue() -> FFIValue or none",
            "a FILE pointer with the content, at the present position; the same one each time",
            move |ctx, _| {
                ffi::check_allowed(is_ffi_allowed)?;
                let file = ctx.state_of_this::<FileState>()?;
                let mut inner = file.inner.lock();
                if inner.stream.is_none()
                    && let Some(content) = inner.content.clone()
                {
                    inner.stream = Some(ffi::stream_value(content, inner.position)?);
                }
                Ok::<_, Thrown>(inner.stream.clone().unwrap_or_default())
            },
        )
        .method("close() -> none", "closes the file; further reads give none", |ctx, _| {
            let file = ctx.state_of_this::<FileState>()?;
            let mut inner = file.inner.lock();
            // C may go on with a stream that a value still holds.
            (inner.content, inner.stream) = (None, None);
            Ok::<_, Thrown>(())
        });
}

impl Inner {
    fn read(&mut self, ctx: &mut CallContext<'_>, length: Option<u64>) -> Result<Value, Thrown> {
        let Some(content) = self.content.as_ref() else { return Ok(Value::None) };
        let rest = content.len().saturating_sub(self.position);
        let wanted = usize::try_from(length.map_or(rest, |length| length.min(rest)));
        let wanted = wanted.unwrap_or(usize::MAX);
        ctx.charge_memory(wanted)?;
        let mut data = vec![0; wanted];
        match content.read_at(self.position, &mut data) {
            Ok(count) => {
                data.truncate(count);
                self.position += count as u64;
                Ok(data.into())
            }
            Err(_) => Ok(Value::None),
        }
    }

    fn readline(&mut self, ctx: &mut CallContext<'_>) -> Result<Value, Thrown> {
        let mut line = Vec::new();
        if self.buffer.capacity() == 0 {
            ctx.charge_memory(BUFFER_OCTETS)?;
        }
        loop {
            let Some(piece) = self.buffered() else { return Ok(Value::None) };
            if piece.is_empty() {
                return Ok(if line.is_empty() { Value::Bool(false) } else { line.into() });
            }
            let end = memchr::memchr(b'\n', piece);
            let taken = end.unwrap_or(piece.len());
            line.extend_from_slice(piece.get(..taken).unwrap_or_default());
            self.position += taken as u64;
            if end.is_some() {
                self.position += 1;
                if line.last() == Some(&b'\r') {
                    line.pop();
                }
                return Ok(line.into());
            }
            args::charge_growth(ctx, taken, line.len())?;
        }
    }

    /// The octets at the position, as far as they are in memory; empty at the end, `None` on error.
    fn buffered(&mut self) -> Option<&[u8]> {
        let content = self.content.as_ref()?;
        let end = self.buffer_start + self.buffer.len() as u64;
        if !(self.buffer_start..end).contains(&self.position) {
            self.buffer.resize(BUFFER_OCTETS, 0);
            let count = content.read_at(self.position, &mut self.buffer).ok()?;
            self.buffer.truncate(count);
            self.buffer_start = self.position;
        }
        let skip = usize::try_from(self.position - self.buffer_start).ok()?;
        self.buffer.get(skip..)
    }

    fn seek(&mut self, offset: i64, whence: &[u8]) -> Result<Value, Thrown> {
        let Some(content) = self.content.as_ref() else { return Ok(Value::None) };
        let base = match whence {
            b"SEEK_SET" => 0,
            b"SEEK_CUR" => self.position,
            b"SEEK_END" => content.len(),
            _ => return Err(Thrown::new("seek() knows SEEK_SET, SEEK_CUR and SEEK_END")),
        };
        match base.checked_add_signed(offset) {
            Some(position) => {
                self.position = position;
                Ok(Value::Number(position as f64))
            }
            None => Ok(Value::None),
        }
    }
}

/// What `readline` reads at once: most messages have lines of under 100 octets.
const BUFFER_OCTETS: usize = 8192;
