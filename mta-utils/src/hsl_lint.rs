//! `hsl-lint`: checks one script for an editor.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, anyhow, bail};
use clap::Parser;
use config::Node;
use hsl::ast::{ImportWhat, StmtKind};
use hsl::diagnostic::PlainDiagnostic;
use hsl::host::Registry;
use hsl::module::{ImportKind, ImportRequest, Loaded, ModuleLoader};
use hsl::parser::{Limits, parse};
use hsl::source::SourceMap;
use hsl::symbol::Interner;
use hsl::{CompileError, Compiler, Value};
use hsl_std::import::FileLoader;
use script_host::HookWords;

/// Checks the syntax of a script.
///
/// Standard input is a YAML object: "type" is the hook that the script is for, or empty for a script of no
/// hook; "data" is the script; "files" is the list of the files it may import, each with "id" and "data",
/// and "binary" when data is base64.
///
/// Exit status: 0 when the script is fine; 1 when it is not, with what is wrong as YAML on standard error:
/// line, column, message, the file if it is another one, and the path of imports that led there; 2 when
/// the input cannot be used.
///
/// What only the server has is not known here: whatever a script imports from an extras:// module that is
/// not installed, or from a file:// path, is taken to be there.
#[derive(Parser, Debug)]
#[command(name = "hsl-lint", version, after_help = EXAMPLES)]
pub struct Arguments {}

const EXAMPLES: &str = r#"Examples:
  printf 'type: eod\ndata: |\n  Accept();\n' | hsl-lint
  hsh -s --hook eod eod.hsl    the same check of a file, with what is wrong for people to read"#;

/// Runs the program.
pub fn main() -> ExitCode {
    let Arguments {} = Arguments::parse();
    match run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("hsl-lint: {error:#}");
            ExitCode::from(EXIT_INPUT)
        }
    }
}

fn run() -> anyhow::Result<ExitCode> {
    let mut text = Vec::new();
    std::io::stdin().read_to_end(&mut text).context("cannot read standard input")?;
    let input = Input::read(&text)?;
    let Err(error) = input.check() else { return Ok(ExitCode::SUCCESS) };
    let finding = error.diagnostics.first().map(|finding| finding.plain(&error.sources));
    eprint!("{}", yaml(&finding.context("the compiler gave no reason")?));
    Ok(ExitCode::FAILURE)
}

/// What an editor asks about.
struct Input {
    hook: Option<HookWords>,
    script: String,
    files: BTreeMap<String, Arc<[u8]>>,
}

impl Input {
    fn read(text: &[u8]) -> anyhow::Result<Self> {
        let root = config::yaml::parse(text, "standard input").map_err(|errors| {
            anyhow!("{}", errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
        })?;
        let member = |node: &Node, key: &str| {
            node.member(key).and_then(|node| node.scalar()).map(|value| value.text.to_string())
        };
        // Compat: the name of the first key is not documented.
        let kind = ["type", "hook"].iter().find_map(|key| member(&root, key)).unwrap_or_default();
        let hook = match kind.as_str() {
            "" | "plain" | "file" | "module" => None,
            name => Some(HookWords::of(name).with_context(|| format!("there is no hook {name}"))?),
        };
        let script = member(&root, "data").context("there is no \"data\"")?;
        let mut files = BTreeMap::new();
        for file in root.member("files").map(|files| files.elements()).unwrap_or_default() {
            let (Some(id), Some(data)) = (member(file, "id"), member(file, "data")) else {
                bail!("an item of \"files\" lacks \"id\" or \"data\"");
            };
            let data = if member(file, "binary").as_deref() == Some("true") {
                mail_message::transfer_encoding::base64_decode(data.as_bytes())
            } else {
                data.into_bytes()
            };
            files.insert(id, Arc::from(data));
        }
        Ok(Self { hook, script, files })
    }

    fn check(&self) -> Result<(), CompileError> {
        let mut registry = Registry::new();
        hsl_std::register(&mut registry, &hsl_std::Services::default());
        match &self.hook {
            Some(hook) => hook.register(&mut registry),
            None => HookWords::common().register(&mut registry),
        }
        let host = registry.freeze();
        let mut loader = FileLoader::new().with_extras(Path::new(PLUGINS));
        for (id, data) in &self.files {
            loader = loader.with_data(id, Arc::clone(data));
        }
        let scripts = self.files.values().map(|data| &**data).chain([self.script.as_bytes()]);
        let loader = Lenient { loader, elsewhere: module_names(scripts) };
        let mut compiler = Compiler::new(&host).with_loader(&loader);
        if let Some(hook) = &self.hook {
            for variable in &hook.variables {
                compiler = compiler.with_read_only(variable);
            }
            for variable in &hook.yielding {
                compiler = compiler.with_yielding(variable);
            }
            compiler = compiler.with_writable("context");
        }
        compiler.compile("file:", MAIN, self.script.as_bytes()).map(drop)
    }
}

/// Finds files, and makes up those of the server that are not there.
struct Lenient {
    loader: FileLoader,
    /// Names that scripts import, by module.
    elsewhere: ModuleNames,
}

/// Names by module, each with the static members that scripts use of it: what has some is a class.
type ModuleNames = BTreeMap<Vec<u8>, BTreeMap<String, BTreeSet<String>>>;

impl ModuleLoader for Lenient {
    fn load(&self, request: &ImportRequest<'_>) -> Result<Loaded, String> {
        let found = self.loader.load(request);
        if found.is_ok() {
            return found;
        }
        let names = match request.kind {
            ImportKind::Module => self.elsewhere.get(request.path),
            ImportKind::Data if is_elsewhere(request.path) => return Ok(Loaded::Data(Value::None)),
            ImportKind::Data | ImportKind::Include => None,
        };
        let Some(names) = names else { return found };
        let member = |member: &String| match member.strip_prefix('$') {
            Some(_) => format!("static {member} = none;\n"),
            None => format!("static function {member}(...$arguments) {{}}\n"),
        };
        let definition = |(name, members): (&String, &BTreeSet<String>)| {
            if name.starts_with('$') {
                return format!("{name} = none;\n");
            }
            if members.is_empty() {
                return format!("function {name}(...$arguments) {{}}\n");
            }
            let members: String = members.iter().map(member).collect();
            format!("class {name} {{ constructor(...$arguments) {{}}\n{members}}}\n")
        };
        let name = String::from_utf8_lossy(request.path).into_owned();
        let text = names.iter().map(definition).collect::<String>().into_bytes();
        Ok(Loaded::Script { identity: name.clone(), name, text })
    }
}

/// Whether a path names a file that the server has and this machine may not have: of a plugin, or below
/// `scripting.rootpath`.
fn is_elsewhere(path: &[u8]) -> bool {
    // `txt!file://…` names the loader.
    let after_loader = path.splitn(2, |byte| *byte == b'!').last().unwrap_or(path);
    [path, after_loader].iter().any(|path| {
        ["extras://", "file://", "plugin-config://"]
            .iter()
            .any(|scheme| path.starts_with(scheme.as_bytes()))
    })
}

/// What scripts import from modules that are elsewhere. Scripts that do not parse import nothing.
fn module_names<'a>(scripts: impl Iterator<Item = &'a [u8]>) -> ModuleNames {
    let mut out = ModuleNames::new();
    for text in scripts {
        let mut sources = SourceMap::new();
        let mut interner = Interner::new();
        let file = sources.add("file", None, text.to_vec());
        let Ok(script) = parse(&file, &mut interner, &Limits::default()) else { continue };
        for statement in &script.body {
            let StmtKind::Import(import) = &statement.kind else { continue };
            if !is_elsewhere(&import.path.value) {
                continue;
            }
            let names = out.entry(import.path.value.to_vec()).or_default();
            let symbols = match &import.what {
                ImportWhat::Symbols(symbols) => symbols,
                ImportWhat::Namespace(namespace) => {
                    let namespace = interner.name(namespace.name);
                    for name in static_members(text, namespace) {
                        let members = static_members(text, &format!("{namespace}::{name}"));
                        names.entry(name).or_default().extend(members);
                    }
                    continue;
                }
                ImportWhat::Data(_) => continue,
            };
            for symbol in symbols {
                let name = interner.name(symbol.name.name);
                if symbol.is_variable {
                    names.entry(format!("${name}")).or_default();
                    continue;
                }
                let here = symbol.alias.as_ref().map_or(name, |alias| interner.name(alias.name));
                names.entry(name.to_owned()).or_default().extend(static_members(text, here));
            }
        }
    }
    out
}

/// The words behind each `name::` of a script. Those in texts and comments do no harm.
fn static_members(script: &[u8], name: &str) -> BTreeSet<String> {
    let is_word = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    let script = String::from_utf8_lossy(script);
    let scope = format!("{name}::");
    let found = script.match_indices(&scope).filter_map(|(at, _)| {
        let (before, rest) = (script.get(..at)?, script.get(at + scope.len()..)?);
        let word = rest.strip_prefix('$').unwrap_or(rest);
        let length = rest.len() - word.trim_start_matches(is_word).len();
        let member = rest.get(..length).filter(|member| member.ends_with(is_word))?;
        (!before.ends_with(is_word)).then(|| member.to_owned())
    });
    found.collect()
}

/// The finding as the editor reads it. JSON's strings are YAML's as well.
fn yaml(finding: &PlainDiagnostic) -> String {
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    let other = |file: &Option<String>| file.clone().filter(|file| file != MAIN);
    let mut out = format!(
        "line: {}\ncolumn: {}\nmessage: {}\n",
        finding.line,
        finding.column,
        quoted(&finding.message)
    );
    if let Some(file) = other(&finding.file) {
        out.push_str(&format!("file: {}\n", quoted(&file)));
    }
    if finding.path.is_empty() {
        out.push_str("path: []\n");
        return out;
    }
    out.push_str("path:\n");
    for frame in &finding.path {
        let (line, column) = (frame.line, frame.column);
        out.push_str(&match other(&frame.file) {
            Some(file) => {
                format!("  - file: {}\n    line: {line}\n    column: {column}\n", quoted(&file))
            }
            None => format!("  - line: {line}\n    column: {column}\n"),
        });
    }
    out
}

/// What the script itself is called; no file of a configuration can be.
const MAIN: &str = "\u{0}";

/// Where packages put the script modules of plugins.
const PLUGINS: &str = "/opt/halon/plugins/hsl";

const EXIT_INPUT: u8 = 2;
