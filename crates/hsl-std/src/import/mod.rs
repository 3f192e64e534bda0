//! Data imports: what a file becomes behind `import $x from "file.ext" with […]`.
//!
//! [`FileLoader`] finds and reads files; [`decode`] turns octets into the value, by the extension or
//! by the loader that a path forces (`"txt!mail.eml"`).

mod loader;
mod tags;

use hsl::host::HostSet;
use hsl::value::Value;

use crate::args::Options;
use crate::encoding::{csv, json};
use crate::{keys, mime, x509};

pub use loader::FileLoader;

/// Splits `"loader!path"` into the kind of data and the path; without loader, the kind is the
/// extension. `None` when there is neither.
pub fn kind_of(path: &str) -> Option<(&str, &str)> {
    if let Some((loader, rest)) = path.split_once('!')
        && loader.bytes().all(|byte| byte.is_ascii_alphanumeric())
    {
        return Some((loader, rest));
    }
    let name = path.rsplit('/').next()?;
    let (_, extension) = name.rsplit_once('.')?;
    Some((extension, path))
}

/// Decodes the content of a file of a kind (`json`, `csv`, `txt`, `yaml`, `eml`, `crt`, `key`) with the
/// options behind `with`. Messages are objects of the class `MailMessage` of `host`.
///
/// # Errors
///
/// A text that says what is wrong with the content, the options or the kind.
pub fn decode(
    kind: &str,
    content: &[u8],
    options: Option<&Value>,
    host: Option<&HostSet>,
) -> Result<Value, String> {
    let options = match options {
        None | Some(Value::None) => Options::of(None),
        Some(Value::Array(array)) => Options::of(Some(array)),
        Some(other) => {
            let given = other.type_of().name();
            return Err(format!("import options must be an array, {given} given"));
        }
    };
    match kind {
        // Compat: imported files may hold comments.
        "json" => json::decode_file(content, true).map_err(|error| error.to_string()),
        "csv" => {
            let format = csv::Format::new(options).map_err(|thrown| thrown.message())?;
            format.decode(content).map_err(|error| error.to_string())
        }
        "yaml" | "yml" => tags::decode(content, host),
        "eml" => mime::import(content, host),
        "txt" => text(content, options),
        "crt" => {
            let as_resources =
                options.boolean("resource", false).map_err(|thrown| thrown.message())?;
            x509::import(content, as_resources).map_err(|error| error.to_string())
        }
        "key" => keys::private_key_from_pem(content)
            .map(keys::private_key_value)
            .map_err(|error| error.to_string()),
        other => Err(format!("there is no loader for \"{other}\"")),
    }
}

/// A text, or with `array` (or `"type" => "array"`) the list of its lines without line ends.
fn text(content: &[u8], options: Options<'_>) -> Result<Value, String> {
    let by_type = options.bytes("type").map_err(|thrown| thrown.message())?;
    let as_lines = by_type == Some(b"array")
        || options.boolean("array", false).map_err(|thrown| thrown.message())?;
    if !as_lines {
        return Ok(Value::from(content));
    }
    let body = content.strip_suffix(b"\n").unwrap_or(content);
    if content.is_empty() {
        return Ok(Value::list([]));
    }
    let lines = body.split(|&byte| byte == b'\n');
    Ok(Value::list(lines.map(|line| Value::from(line.strip_suffix(b"\r").unwrap_or(line)))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dump(kind: &str, content: &str, options: Option<Value>) -> Result<String, String> {
        let value = decode(kind, content.as_bytes(), options.as_ref(), None)?;
        Ok(String::from_utf8_lossy(&hsl::ops::to_text(&value)).into_owned())
    }

    #[test]
    fn the_kind_is_the_loader_or_the_extension() {
        assert_eq!(kind_of("a/b.csv"), Some(("csv", "a/b.csv")));
        assert_eq!(kind_of("txt!mail.eml"), Some(("txt", "mail.eml")));
        assert_eq!(kind_of("a.b/c"), None);
    }

    #[test]
    fn csv_columns_have_the_types_of_their_schema() {
        let column = |kind: &str| ("type", Value::from(kind));
        let boolean = Value::map([
            column("boolean"),
            ("true", Value::list(["y".into()])),
            ("false", Value::list(["n".into()])),
            ("nullable", Value::Bool(true)),
        ]);
        let schema = Value::map([("id", Value::map([column("number")])), ("on", boolean)]);
        let options = Some(Value::map([("schema", schema)]));
        assert_eq!(
            dump("csv", "id,on\n1,y\n2,n\n3,\n", options.clone()).unwrap(),
            "[0=>[\"id\"=>1,\"on\"=>true],1=>[\"id\"=>2,\"on\"=>false],2=>[\"id\"=>3,\"on\"=>none]]"
        );
        let error = dump("csv", "id,on\n1,y\nx,n\n", options.clone()).unwrap_err();
        assert_eq!(error, "csv line 3: column id is no number: \"x\"");
        let error = dump("csv", "id,on\n1,maybe\n", options.clone()).unwrap_err();
        assert_eq!(error, "csv line 2: column on is no boolean: \"maybe\"");
        let error = dump("csv", "id,on\n1\n", options).unwrap_err();
        assert_eq!(error, "csv line 2: 1 fields, but the header has 2");
    }

    #[test]
    fn csv_without_header_is_keyed_by_position() {
        let number = Value::map([("type", Value::from("number"))]);
        let schema = Value::list([Value::map::<&str>([]), number]);
        let options = Value::map([("header", Value::Bool(false)), ("schema", schema)]);
        let expected = "[0=>[0=>\"a\",1=>1],1=>[0=>\"b\"]]";
        assert_eq!(dump("csv", "a,1\nb\n", Some(options)).unwrap(), expected);
    }

    #[test]
    fn texts_are_whole_or_lists_of_lines() {
        assert_eq!(dump("txt", "a\r\nb\n", None).unwrap(), "a\r\nb\n");
        for (name, value) in [("array", Value::Bool(true)), ("type", Value::from("array"))] {
            let options = Some(Value::map([(name, value)]));
            assert_eq!(dump("txt", "a\r\n\nb\n", options).unwrap(), "[0=>\"a\",1=>\"\",2=>\"b\"]");
        }
    }

    #[test]
    fn tags_of_yaml_become_objects_or_are_refused() {
        let table = [
            ("!Map [a, {b: 1}]", Ok("[Map object]")),
            ("!Set x", Err("!Set cannot be made of a string")),
            ("!Set [[1]]", Err("a value of type array cannot be a key")),
            ("!Regex 1", Err("!Regex cannot be made of a number")),
            ("!Regex '('", Err("missing")),
            ("!PrivateKey x", Err("unreadable private key")),
            ("a: !X509 x", Err("unreadable certificate")),
            ("!Unknown x", Err("there is no tag !Unknown")),
            ("a: !!str 1", Ok("[\"a\"=>\"1\"]")),
        ];
        for (text, expected) in table {
            match (dump("yaml", text, None), expected) {
                (Ok(value), Ok("[Map object]")) => assert!(value.contains("Map"), "{value}"),
                (Ok(value), Ok(expected)) => assert_eq!(value, expected, "{text}"),
                (Err(error), Err(expected)) => assert!(error.contains(expected), "{text}: {error}"),
                (other, _) => panic!("{text}: {other:?}"),
            }
        }
    }

    #[test]
    fn mistakes_are_named() {
        assert!(dump("json", "{", None).is_err());
        assert!(dump("yaml", "a: [", None).is_err());
        assert_eq!(dump("exe", "", None).unwrap_err(), "there is no loader for \"exe\"");
    }
}
