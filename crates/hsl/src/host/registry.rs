//! Where functions, classes and modules of the host are registered.

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::Arc;

use smallvec::SmallVec;

use super::step::{Answer, NativeFn, ReadingFn};
use super::{CallContext, Measure, NativeStep, Signature, SignatureError, Thrown, TypeSet};
use crate::value::{Class, ClassKind, HostIterator, NativeClass, Object, Str, Type, Value};

/// A function of the host with its signature.
pub struct NativeFunction {
    signature: Signature,
    doc: String,
    is_pure: bool,
    min: usize,
    max: usize,
    fixed: usize,
    /// What the parameters take, by position, none where it may be left out; the last one stands for all
    /// that follow.
    accepts: Box<[TypeSet]>,
    literal: Option<Literal>,
    counts: bool,
    call: Call,
}

/// The function of the host behind `=~`.
pub(crate) const REGEX_MATCH: &str = "__regex_match";

/// What becomes of a text in a script that is given to a function of the host as it stands.
struct Literal {
    /// The parameter, from 0.
    at: usize,
    /// The pure function that makes the argument of the text.
    maker: String,
}

/// How a native function wants its arguments.
enum Call {
    Owning(Box<NativeFn>),
    Reading(Box<ReadingFn>),
}

impl NativeFunction {
    /// Makes a function from its parts.
    pub fn new<F, R>(signature: Signature, doc: &str, body: F) -> Self
    where
        F: Fn(&mut CallContext<'_>, &mut [Value]) -> R + Send + Sync + 'static,
        R: Into<NativeStep>,
    {
        let call = Box::new(move |context: &mut CallContext<'_>, arguments: &mut [Value]| {
            body(context, arguments).into()
        });
        Self::with_call(signature, doc, Call::Owning(call))
    }

    /// Makes a function that only looks at its arguments; they are lent.
    pub fn reading<F, R>(signature: Signature, doc: &str, body: F) -> Self
    where
        F: Fn(&mut CallContext<'_>, &[&Value]) -> R + Send + Sync + 'static,
        R: Answer,
    {
        let call = Box::new(
            move |context: &mut CallContext<'_>, arguments: &[&Value], place: &mut Value| {
                body(context, arguments).give(place)
            },
        );
        Self::with_call(signature, doc, Call::Reading(call))
    }

    fn with_call(signature: Signature, doc: &str, call: Call) -> Self {
        let fixed = signature.parameters.iter().filter(|parameter| !parameter.is_rest).count();
        let accepts = signature.parameters.iter().map(|parameter| {
            if parameter.is_optional { parameter.types.or(TypeSet::NONE) } else { parameter.types }
        });
        Self {
            min: signature.min_arguments(),
            max: signature.max_arguments().unwrap_or(usize::MAX),
            fixed,
            accepts: accepts.collect(),
            signature,
            doc: doc.to_owned(),
            is_pure: false,
            literal: None,
            counts: false,
            call,
        }
    }

    /// Returns the name.
    pub fn name(&self) -> &str {
        &self.signature.name
    }

    /// Returns the signature.
    pub fn signature(&self) -> &Signature {
        &self.signature
    }

    /// Returns the one-line description.
    pub fn doc(&self) -> &str {
        &self.doc
    }

    /// Returns whether equal arguments always give equal values, without effects.
    pub fn is_pure(&self) -> bool {
        self.is_pure
    }

    /// Returns whether the function counts octets and items, which the machine can do without a call.
    pub(crate) const fn counts(&self) -> bool {
        self.counts
    }

    /// Returns the function that makes argument `at` of a text in the script.
    pub(crate) fn literal_maker(&self, at: usize) -> Option<&str> {
        let literal = self.literal.as_ref()?;
        (literal.at == at).then_some(literal.maker.as_str())
    }

    /// Returns how many parameters there are, a rest parameter aside.
    #[inline]
    pub(crate) fn fixed(&self) -> usize {
        self.fixed
    }

    /// Checks the number of arguments.
    pub(crate) fn check_count(&self, given: usize) -> Result<(), Thrown> {
        if given >= self.min && given <= self.max {
            return Ok(());
        }
        Err(Thrown::new(count_message(self.name(), given, self.min, self.max)))
    }

    /// Checks the number and types of arguments. Optional ones may be none.
    #[inline]
    pub(crate) fn check<'a>(
        &self,
        arguments: impl ExactSizeIterator<Item = &'a Value> + Clone,
    ) -> Result<(), Thrown> {
        let given = arguments.len();
        if given >= self.min && given <= self.max && self.accepts(arguments.clone()) {
            return Ok(());
        }
        self.check_each(arguments)
    }

    /// Checks the types of arguments of a call whose number of arguments the compiler has checked.
    #[inline(always)]
    pub(crate) fn check_types<'a>(
        &self,
        arguments: impl ExactSizeIterator<Item = &'a Value> + Clone,
    ) -> Result<(), Thrown> {
        if self.accepts(arguments.clone()) {
            return Ok(());
        }
        self.check_each(arguments)
    }

    /// Whether there is a parameter for each argument, which takes its type.
    #[inline(always)]
    fn accepts<'a>(&self, arguments: impl ExactSizeIterator<Item = &'a Value>) -> bool {
        arguments.len() <= self.accepts.len()
            && arguments.zip(&*self.accepts).all(|(argument, types)| match argument {
                // The usual type, which needs no translation.
                Value::String(_) => types.contains(Type::String),
                other => types.contains(other.type_of()),
            })
    }

    /// The same for more arguments than parameters, and with the words for what is wrong.
    #[inline(never)]
    fn check_each<'a>(
        &self,
        arguments: impl ExactSizeIterator<Item = &'a Value>,
    ) -> Result<(), Thrown> {
        self.check_count(arguments.len())?;
        let last = self.accepts.len().wrapping_sub(1);
        for (at, argument) in arguments.enumerate() {
            let place = at.min(last);
            let (Some(types), Some(parameter)) =
                (self.accepts.get(place), self.signature.parameters.get(place))
            else {
                break;
            };
            if !types.contains(argument.type_of()) {
                if self.name() == REGEX_MATCH {
                    return Err(Thrown::new(format!(
                        "=~ expects the {} side to be {}, {} given",
                        if at == 0 { "left" } else { "right" },
                        parameter.type_text,
                        argument.type_of().name()
                    )));
                }
                return Err(Thrown::new(format!(
                    "{}() expects parameter {} ({}) to be {}, {} given",
                    self.name(),
                    at + 1,
                    parameter.name,
                    parameter.type_text,
                    argument.type_of().name()
                )));
            }
        }
        Ok(())
    }

    /// Returns the value of parameter `at` when it is not given.
    pub(crate) fn default(&self, at: usize) -> &Value {
        self.signature.parameters.get(at).map_or(&Value::None, |parameter| &parameter.default)
    }

    /// Returns whether the function only looks at its arguments, so that they can be lent to it.
    pub(crate) const fn only_reads(&self) -> bool {
        matches!(self.call, Call::Reading(_))
    }

    /// Runs the function; the caller has checked and completed the arguments.
    #[inline]
    pub(crate) fn invoke(
        &self,
        context: &mut CallContext<'_>,
        arguments: &mut [Value],
    ) -> NativeStep {
        match &self.call {
            Call::Owning(call) => call(context, arguments),
            Call::Reading(call) => {
                let lent: SmallVec<[&Value; 8]> = arguments.iter().collect();
                let mut value = Value::None;
                match call(context, &lent, &mut value) {
                    Ok(()) => NativeStep::Return(value),
                    Err(thrown) => NativeStep::Throw(thrown),
                }
            }
        }
    }

    /// Returns what runs a function that only looks at its arguments; the caller has checked and completed
    /// them.
    #[inline]
    pub(crate) fn reader(&self) -> Option<&ReadingFn> {
        match &self.call {
            Call::Reading(call) => Some(call),
            Call::Owning(_) => None,
        }
    }
}

/// Says that the number of arguments does not fit.
pub(crate) fn count_message(name: &str, given: usize, min: usize, max: usize) -> String {
    let name = if name.is_empty() { "function" } else { name };
    let wanted = if min == max {
        format!("{min}")
    } else if given < min {
        format!("at least {min}")
    } else {
        format!("at most {max}")
    };
    let noun = if wanted.ends_with(" 1") || wanted == "1" { "argument" } else { "arguments" };
    format!("{name}() expects {wanted} {noun}, {given} given")
}

/// Collects what the host offers to scripts.
#[derive(Default)]
pub struct Registry {
    set: HostSet,
}

/// A frozen registry: what a script is compiled against.
#[derive(Clone, Default)]
pub struct HostSet {
    functions: BTreeMap<String, Arc<NativeFunction>>,
    classes: BTreeMap<String, Class>,
    modules: BTreeMap<String, Arc<BTreeMap<String, ModuleEntry>>>,
}

/// A name that a module of the host exports.
#[derive(Clone)]
pub enum ModuleEntry {
    /// A function.
    Function(Arc<NativeFunction>),
    /// A class.
    Class(Class),
}

impl Registry {
    /// Makes a registry with what belongs to the language: `Exception` and `Iterator`.
    pub fn new() -> Self {
        let mut registry = Self::default();
        registry.add_class(crate::exception::class().clone());
        registry.add_class(crate::value::iterator_class().clone());
        registry
    }

    /// Registers a function under the name in its signature, replacing an earlier one.
    ///
    /// `body` gives a value, a `Result` of one, or a [`NativeStep`].
    ///
    /// # Panics
    ///
    /// If the text of the signature cannot be read; signatures are written by us, not by users. Use
    /// [`Self::add_function`] for names that come from outside.
    pub fn function<F, R>(&mut self, signature: &str, doc: &str, body: F) -> &mut Self
    where
        F: Fn(&mut CallContext<'_>, &mut [Value]) -> R + Send + Sync + 'static,
        R: Into<NativeStep>,
    {
        self.add_function(NativeFunction::new(read(signature), doc, body))
    }

    /// Registers a function whose value depends on its arguments alone. The compiler may call it. The
    /// arguments are lent where they are, so a call costs neither copies nor counts.
    ///
    /// # Panics
    ///
    /// As [`Self::function`].
    pub fn pure_function<F, R>(&mut self, signature: &str, doc: &str, body: F) -> &mut Self
    where
        F: Fn(&mut CallContext<'_>, &[&Value]) -> R + Send + Sync + 'static,
        R: Answer,
    {
        let mut function = NativeFunction::reading(read(signature), doc, body);
        function.is_pure = true;
        self.add_function(function)
    }

    /// Registers a function made by [`NativeFunction::new`].
    pub fn add_function(&mut self, function: NativeFunction) -> &mut Self {
        self.set.functions.insert(function.name().to_owned(), Arc::new(function));
        self
    }

    /// Lets the compiler make argument `at` (from 0) of the function `name`, registered right before, by
    /// the pure function `maker`, where a script gives a text that is known: what is wrong with it is a
    /// compile error, and calls get what was made. The function must take both. If `name` is itself the
    /// maker, the text is checked only.
    pub fn literal(&mut self, name: &str, at: usize, maker: &str) -> &mut Self {
        if let Some(function) = self.set.functions.get_mut(name).and_then(Arc::get_mut) {
            function.literal = Some(Literal { at, maker: maker.to_owned() });
        }
        self
    }

    /// Tells the machine that the pure function `name`, registered right before, gives the octets of a string
    /// and the items of an array: it counts them itself and calls the function for other values.
    pub fn counts(&mut self, name: &str) -> &mut Self {
        if let Some(function) = self.set.functions.get_mut(name).and_then(Arc::get_mut) {
            function.counts = true;
        }
        self
    }

    /// Registers a class, filled in by `fill`.
    pub fn class(
        &mut self,
        name: &str,
        doc: &str,
        fill: impl FnOnce(&mut ClassBuilder),
    ) -> &mut Self {
        let mut builder = ClassBuilder::new(name, doc);
        fill(&mut builder);
        self.add_class(builder.build())
    }

    /// Registers a finished class.
    pub fn add_class(&mut self, class: Class) -> &mut Self {
        let name = String::from_utf8_lossy(class.name()).into_owned();
        self.set.classes.insert(name, class);
        self
    }

    /// Registers a module that scripts import by `path`, such as `extras://id`. What is registered
    /// under a path that is known already joins it.
    pub fn module(&mut self, path: &str, fill: impl FnOnce(&mut ModuleBuilder)) -> &mut Self {
        let known = self.set.modules.get(path).map(|module| BTreeMap::clone(module));
        let mut builder = ModuleBuilder { entries: known.unwrap_or_default() };
        fill(&mut builder);
        self.set.modules.insert(path.to_owned(), Arc::new(builder.entries));
        self
    }

    /// Adds everything of another set; its names win.
    pub fn include(&mut self, other: &HostSet) -> &mut Self {
        let add = |map: &BTreeMap<String, Arc<NativeFunction>>| map.clone();
        self.set.functions.extend(add(&other.functions));
        self.set.classes.extend(other.classes.clone());
        for (path, module) in &other.modules {
            let mut entries =
                self.set.modules.get(path).map(|known| BTreeMap::clone(known)).unwrap_or_default();
            entries.extend(BTreeMap::clone(module));
            self.set.modules.insert(path.clone(), Arc::new(entries));
        }
        self
    }

    /// Ends registration.
    pub fn freeze(self) -> Arc<HostSet> {
        Arc::new(self.set)
    }
}

impl HostSet {
    /// Returns the function `name`.
    pub fn function(&self, name: &str) -> Option<&Arc<NativeFunction>> {
        self.functions.get(name)
    }

    /// Returns the class `name`.
    pub fn class(&self, name: &str) -> Option<&Class> {
        self.classes.get(name)
    }

    /// Returns the module that `path` names.
    pub fn module(&self, path: &str) -> Option<&BTreeMap<String, ModuleEntry>> {
        self.modules.get(path).map(|module| &**module)
    }

    /// Returns all functions, sorted by name.
    pub fn functions(&self) -> impl Iterator<Item = &Arc<NativeFunction>> {
        self.functions.values()
    }

    /// Returns all classes, sorted by name.
    pub fn classes(&self) -> impl Iterator<Item = &Class> {
        self.classes.values()
    }

    /// Returns all modules, sorted by path.
    pub fn modules(&self) -> impl Iterator<Item = (&str, &BTreeMap<String, ModuleEntry>)> {
        self.modules.iter().map(|(path, module)| (path.as_str(), &**module))
    }
}

/// Collects the members of a class of the host.
pub struct ClassBuilder {
    class: NativeClass,
}

impl ClassBuilder {
    pub(crate) fn new(name: &str, doc: &str) -> Self {
        Self {
            class: NativeClass {
                name: Str::from(name),
                doc: doc.to_owned(),
                constructor: None,
                methods: Default::default(),
                statics: Default::default(),
                iterate: None,
                copy: None,
                measure: None,
            },
        }
    }

    /// Sets the constructor. Its value is the object: make it with [`CallContext::new_object`].
    ///
    /// # Panics
    ///
    /// As [`Registry::function`].
    pub fn constructor<F, R>(&mut self, signature: &str, doc: &str, body: F) -> &mut Self
    where
        F: Fn(&mut CallContext<'_>, &mut [Value]) -> R + Send + Sync + 'static,
        R: Into<NativeStep>,
    {
        self.class.constructor = Some(Arc::new(NativeFunction::new(read(signature), doc, body)));
        self
    }

    /// Adds a method. It finds its object by [`CallContext::state_of_this`].
    ///
    /// # Panics
    ///
    /// As [`Registry::function`].
    pub fn method<F, R>(&mut self, signature: &str, doc: &str, body: F) -> &mut Self
    where
        F: Fn(&mut CallContext<'_>, &mut [Value]) -> R + Send + Sync + 'static,
        R: Into<NativeStep>,
    {
        self.add_method(NativeFunction::new(read(signature), doc, body))
    }

    /// Adds a method made by [`NativeFunction::new`].
    pub fn add_method(&mut self, function: NativeFunction) -> &mut Self {
        self.class.methods.insert(Str::from(function.name()), Arc::new(function));
        self
    }

    /// Adds a static function.
    ///
    /// # Panics
    ///
    /// As [`Registry::function`].
    pub fn static_function<F, R>(&mut self, signature: &str, doc: &str, body: F) -> &mut Self
    where
        F: Fn(&mut CallContext<'_>, &mut [Value]) -> R + Send + Sync + 'static,
        R: Into<NativeStep>,
    {
        self.add_static_function(NativeFunction::new(read(signature), doc, body))
    }

    /// Adds a static function made by [`NativeFunction::new`].
    pub fn add_static_function(&mut self, function: NativeFunction) -> &mut Self {
        self.class.statics.insert(Str::from(function.name()), Arc::new(function));
        self
    }

    /// Sets a constructor made by [`NativeFunction::new`].
    pub fn add_constructor(&mut self, function: NativeFunction) -> &mut Self {
        self.class.constructor = Some(Arc::new(function));
        self
    }

    /// Lets `foreach` walk instances.
    pub fn iterate<F>(&mut self, start: F) -> &mut Self
    where
        F: Fn(&Object) -> Box<dyn HostIterator> + Send + Sync + 'static,
    {
        self.class.iterate = Some(Box::new(start));
        self
    }

    /// Says how an instance gets a state of its own. A script that imports instances as data changes
    /// copies, not what the next execution gets.
    pub fn copy_with<T, F>(&mut self, copy: F) -> &mut Self
    where
        T: Any + Send + Sync,
        F: Fn(&T) -> T + Send + Sync + 'static,
    {
        self.class.copy = Some(Box::new(move |object| {
            let state = object.state::<T>()?;
            Some(Object::new(object.class(), copy(&state)))
        }));
        self
    }

    /// Says what an instance holds, for the memory limit; without, it is taken for some hundred octets.
    /// The machine asks when a script has used up its budget, and it must not take long: `measure`
    /// adds what is known and calls nothing. What is shared is charged where it is made or grows
    /// ([`CallContext::charge_memory`]), the rest by [`CallContext::new_object`].
    pub fn measure_with<T, F>(&mut self, measure: F) -> &mut Self
    where
        T: Any + Send + Sync,
        F: Fn(&T, &mut Measure) + Send + Sync + 'static,
    {
        self.class.measure = Some(Box::new(move |object, result| {
            if let Some(state) = object.state_ref::<T>() {
                measure(state, result);
            }
        }));
        self
    }

    /// Ends the class.
    pub fn build(self) -> Class {
        Class::new(ClassKind::Native(self.class))
    }
}

/// Collects the names that a module of the host exports.
pub struct ModuleBuilder {
    entries: BTreeMap<String, ModuleEntry>,
}

impl ModuleBuilder {
    /// Exports a function.
    ///
    /// # Panics
    ///
    /// As [`Registry::function`].
    pub fn function<F, R>(&mut self, signature: &str, doc: &str, body: F) -> &mut Self
    where
        F: Fn(&mut CallContext<'_>, &mut [Value]) -> R + Send + Sync + 'static,
        R: Into<NativeStep>,
    {
        self.add_function(NativeFunction::new(read(signature), doc, body))
    }

    /// Exports a function made by [`NativeFunction::new`].
    pub fn add_function(&mut self, function: NativeFunction) -> &mut Self {
        let name = function.name().to_owned();
        self.entries.insert(name, ModuleEntry::Function(Arc::new(function)));
        self
    }

    /// Exports a class.
    pub fn add_class(&mut self, class: Class) -> &mut Self {
        let name = String::from_utf8_lossy(class.name()).into_owned();
        self.entries.insert(name, ModuleEntry::Class(class));
        self
    }
}

fn read(signature: &str) -> Signature {
    Signature::parse(signature).unwrap_or_else(|error: SignatureError| panic!("{error}"))
}
