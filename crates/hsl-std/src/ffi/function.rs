//! Libraries and their functions.

use std::ffi::{CString, OsStr, c_void};
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

use hsl::host::{CallContext, ClassBuilder, NativeFunction, Signature, Thrown};
use hsl::value::{Function, FunctionKind, Value};
use hsl::{Class, Object};
use libffi::middle::{Cif, CodePtr, Type};
use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};

use super::callback;
use super::types::CType;
use super::value::{ForeignValue, c_string};

/// An open library; closed when its last function is gone.
pub(super) struct CLibrary(Arc<Library>);

impl CLibrary {
    /// Opens a library by path or name.
    pub(super) fn open(path: &[u8]) -> Result<Self, Thrown> {
        // SAFETY: initialisers of the library run; the operator allows that with `scripting.ffi`.
        let opened = unsafe { Library::open(Some(OsStr::from_bytes(path)), RTLD_NOW | RTLD_LOCAL) };
        match opened {
            Ok(library) => Ok(Self(Arc::new(library))),
            Err(error) => Err(Thrown::new(format!("FFI cannot open the library: {error}"))),
        }
    }

    /// The address of a symbol; `None` when there is none of that name.
    pub(super) fn address(&self, name: &[u8]) -> Option<usize> {
        let name = CString::new(name).ok()?;
        // SAFETY: the symbol is only taken as an address here.
        let symbol = unsafe { self.0.get::<*mut c_void>(name.as_bytes_with_nul()) };
        let address = symbol.ok()?.into_raw() as usize;
        (address != 0).then_some(address)
    }

    /// A function of the library.
    pub(super) fn function(
        &self,
        name: &[u8],
        arguments: Vec<CType>,
        returns: CType,
    ) -> Result<Option<CFunction>, Thrown> {
        let fixed = arguments.iter().position(|kind| *kind == CType::Variadic);
        if fixed.is_some_and(|at| at + 1 != arguments.len()) {
            return Err(Thrown::new("the FFI type ... must be the last one"));
        }
        if arguments.contains(&CType::Void) || returns == CType::Variadic {
            return Err(Thrown::new("the FFI type void is no argument, and ... no return type"));
        }
        Ok(self.address(name).map(|address| CFunction {
            address,
            fixed: arguments.iter().copied().filter(|kind| *kind != CType::Variadic).collect(),
            is_variadic: fixed.is_some(),
            returns,
            _library: Arc::clone(&self.0),
        }))
    }
}

/// A function of C with its types.
pub(super) struct CFunction {
    address: usize,
    fixed: Vec<CType>,
    is_variadic: bool,
    returns: CType,
    _library: Arc<Library>,
}

/// The class that function values are bound to; scripts never see it.
pub(super) fn class() -> Class {
    Class::builder("FFIFunction", "a function of a library").build()
}

impl CFunction {
    /// The function as a value that scripts call.
    pub(super) fn into_value(self, class: &Class, name: &[u8]) -> Value {
        let signature = Signature::variadic(&String::from_utf8_lossy(name));
        let native = NativeFunction::new(signature, "a function of a library", |ctx, args| {
            let function = ctx.state_of_this::<Self>()?;
            function.call(ctx, args)
        });
        Value::Function(Function::bound(Arc::new(native), Object::new(class, self)))
    }

    /// Reads a function out of a value of the script.
    pub(super) fn of(value: &Value) -> Option<Arc<Self>> {
        let Value::Function(function) = value else { return None };
        let FunctionKind::Native { this: Some(object), .. } = function.kind() else { return None };
        object.state::<Self>()
    }

    fn call(&self, ctx: &mut CallContext<'_>, args: &[Value]) -> Result<Value, Thrown> {
        let wanted = self.fixed.len();
        if args.len() < wanted || args.len() > wanted && !self.is_variadic {
            let more = if self.is_variadic { "at least " } else { "" };
            let given = args.len();
            return Err(Thrown::new(format!(
                "{}() expects {more}{wanted} arguments, {given} given",
                ctx.name()
            )));
        }
        let mut kinds = Vec::with_capacity(args.len());
        let mut octets = Vec::with_capacity(args.len());
        // Alive until the call is over.
        let mut kept = Vec::new();
        for (at, argument) in args.iter().enumerate() {
            let declared = self.fixed.get(at).copied();
            let value = convert(declared, argument, at)?;
            let kind = declared.unwrap_or_else(|| value.kind().promoted());
            octets.push(match declared {
                None if kind.is_number() => kind.pack(value.kind().number(value.octets())),
                _ => value.octets(),
            });
            kinds.push(kind);
            kept.push(value);
        }
        let (result, calls) = callback::during(ctx, || self.call_raw(&kinds, &octets));
        drop(kept);
        calls.finish(ctx)?;
        Ok(match self.returns {
            CType::Void => Value::None,
            CType::Pointer if u64::from_le_bytes(result) == 0 => Value::None,
            kind => ForeignValue::new(kind, result).to_value(),
        })
    }

    /// Calls with the octets of the arguments and gives those of the result.
    pub(super) fn call_raw(&self, kinds: &[CType], octets: &[[u8; 8]]) -> [u8; 8] {
        let types: Vec<Type> = kinds.iter().map(|kind| kind.to_library()).collect();
        let returns = self.returns.to_library();
        let prepared = if self.is_variadic {
            Cif::try_new_variadic(types, self.fixed.len(), returns)
        } else {
            Cif::try_new(types, returns)
        };
        // The types are those of the library itself; it refuses none of them.
        let Ok(cif) = prepared else { return [0; 8] };
        let mut pointers: Vec<*mut c_void> =
            octets.iter().map(|octets| octets.as_ptr().cast_mut().cast()).collect();
        // Whole words are written also for smaller results.
        let mut result = [0u64; 2];
        let code = CodePtr::from_ptr(self.address as *const c_void);
        let mut call = || {
            // SAFETY: the script vouches for the types of the function and for what its pointers
            // point to. The arguments live until the call is over, each with room for its type, and
            // the result has room for the widest one.
            unsafe {
                libffi::raw::ffi_call(
                    cif.as_raw_ptr(),
                    Some(*code.as_fun()),
                    result.as_mut_ptr().cast(),
                    pointers.as_mut_ptr(),
                );
            }
        };
        // What C does takes its time; other tasks go on elsewhere meanwhile.
        if may_block() {
            tokio::task::block_in_place(call);
        } else {
            call();
        }
        let [word, _] = result;
        word.to_le_bytes()
    }
}

/// Whether this thread can be announced as blocked.
fn may_block() -> bool {
    tokio::runtime::Handle::try_current()
        .is_ok_and(|runtime| runtime.runtime_flavor() == tokio::runtime::RuntimeFlavor::MultiThread)
}

/// Makes the argument of C out of one of the script, alive for the call.
fn convert(
    declared: Option<CType>,
    argument: &Value,
    at: usize,
) -> Result<Arc<ForeignValue>, Thrown> {
    if let Some(value) = ForeignValue::find(Some(argument)) {
        let is_right = match declared {
            None => true,
            Some(CType::Pointer) => value.kind() == CType::Pointer,
            Some(kind) => value.kind() == kind,
        };
        if is_right {
            return Ok(value);
        }
        let (given, wanted) = (value.kind().name(), declared.map_or("", CType::name));
        return Err(Thrown::new(format!(
            "FFI argument {} must be of type {wanted}, {given} given",
            at + 1
        )));
    }
    match (declared, argument) {
        (Some(CType::Pointer), Value::String(text)) => {
            c_string(text).ok_or_else(|| Thrown::new("FFI is out of memory"))
        }
        (Some(CType::Pointer), Value::None) => Ok(ForeignValue::pointer(0)),
        (Some(kind), Value::Number(number)) if kind.is_number() => {
            Ok(ForeignValue::new(kind, kind.pack(*number)))
        }
        _ => {
            let wanted = declared.map_or("an FFI value", CType::name);
            let given = argument.type_of().name();
            Err(Thrown::new(format!("FFI argument {} must be {wanted}, {given} given", at + 1)))
        }
    }
}

/// Reads a list of types.
pub(super) fn types(list: &Value) -> Result<Vec<CType>, Thrown> {
    let list = list.as_array().into_iter().flat_map(hsl::Array::values);
    list.map(|kind| CType::of(Some(kind))).collect()
}

/// Registers the members that open libraries.
pub(super) fn register(class: &mut ClassBuilder) {
    class
        .constructor("FFI(string path) -> FFI", "opens a library", |ctx, args| {
            let library = CLibrary::open(crate::args::bytes(args, 0))?;
            ctx.new_object(library)
        })
        .method(
            "func(string name, array arguments, FFIType returntype) -> function or none",
            "a function of the library, none if there is none of that name",
            {
                let functions = self::class();
                move |ctx, args| {
                    let library = ctx.state_of_this::<CLibrary>()?;
                    let arguments = types(args.get(1).unwrap_or(&Value::None))?;
                    let name = crate::args::bytes(args, 0);
                    let function = library.function(name, arguments, CType::of(args.get(2))?)?;
                    let value = function.map(|function| function.into_value(&functions, name));
                    Ok::<_, Thrown>(value.unwrap_or_default())
                }
            },
        )
        .method(
            "symbol(string name) -> FFIValue or none",
            "the address of a symbol, none if there is none of that name",
            |ctx, args| {
                let library = ctx.state_of_this::<CLibrary>()?;
                let address = library.address(crate::args::bytes(args, 0));
                let value = address.map(|address| ForeignValue::pointer(address).to_value());
                Ok::<_, Thrown>(value.unwrap_or_default())
            },
        );
}
