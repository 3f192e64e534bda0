//! Which files are left out: `.halonignore` files, and `smtpd.build.exclude` of older releases.

use std::path::{Path, PathBuf};

use anyhow::Context;

/// Patterns with the folder that they are relative to.
#[derive(Debug, Default)]
pub(super) struct Ignored {
    patterns: Vec<(PathBuf, String)>,
}

impl Ignored {
    /// Reads `settings.yaml` or `settings.json` beside the folder of sources.
    ///
    /// # Compatibility
    ///
    /// 5.6 and before: `smtpd.build.exclude` holds the patterns.
    pub(super) fn read_settings(&mut self, src: &Path) -> anyhow::Result<()> {
        let beside = match src.parent() {
            Some(parent) if parent != Path::new("") => parent,
            _ => Path::new("."),
        };
        for name in ["settings.yaml", "settings.json"] {
            let path = beside.join(name);
            let Ok(text) = std::fs::read(&path) else { continue };
            let root = config::yaml::parse(&text, name)
                .map_err(|errors| anyhow::anyhow!("{}", super::pack::lines(&errors)))?;
            let exclude = ["smtpd", "build", "exclude"]
                .iter()
                .try_fold(&*root, |node, key| node.member(key).map(|node| &**node));
            for pattern in exclude.map(config::Node::elements).unwrap_or_default() {
                let pattern = pattern.text().with_context(|| {
                    format!("{}: smtpd.build.exclude holds what is no text", path.display())
                })?;
                self.patterns.push((src.to_path_buf(), pattern.to_owned()));
            }
        }
        Ok(())
    }

    /// Reads the patterns of a folder, if it has any.
    pub(super) fn read_folder(&mut self, folder: &Path) -> anyhow::Result<()> {
        let path = folder.join(".halonignore");
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error) => {
                return Err(error).with_context(|| format!("cannot read {}", path.display()));
            }
        };
        let lines = text.lines().map(str::trim);
        for line in lines.filter(|line| !line.is_empty() && !line.starts_with('#')) {
            self.patterns.push((folder.to_path_buf(), line.to_owned()));
        }
        Ok(())
    }

    /// Whether a file or folder is left out.
    pub(super) fn contains(&self, path: &Path) -> bool {
        self.patterns.iter().any(|(folder, pattern)| {
            let Ok(inside) = path.strip_prefix(folder) else { return false };
            let pattern = pattern.trim_end_matches('/');
            if pattern.contains('/') {
                let inside = inside.to_string_lossy();
                return matches(pattern.trim_start_matches('/').as_bytes(), inside.as_bytes());
            }
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            matches(pattern.as_bytes(), name.as_bytes())
        })
    }
}

/// Matches a glob: `?` and `*` within a name, `**` across folders, `[a-z]` and `[!a-z]`.
fn matches(pattern: &[u8], text: &[u8]) -> bool {
    match pattern {
        [] => text.is_empty(),
        [b'*', b'*', b'/', rest @ ..] => {
            let mut after =
                text.iter().enumerate().filter(|(_, c)| **c == b'/').map(|(i, _)| i + 1);
            matches(rest, text)
                || after.any(|from| matches(rest, text.get(from..).unwrap_or_default()))
        }
        [b'*', b'*', rest @ ..] => {
            (0..=text.len()).any(|from| matches(rest, text.get(from..).unwrap_or_default()))
        }
        [b'*', rest @ ..] => {
            let end = text.iter().position(|c| *c == b'/').unwrap_or(text.len());
            (0..=end).any(|from| matches(rest, text.get(from..).unwrap_or_default()))
        }
        [b'[', rest @ ..] => {
            let Some(end) = rest.iter().skip(1).position(|c| *c == b']').map(|at| at + 1) else {
                return text.first() == Some(&b'[')
                    && matches(rest, text.get(1..).unwrap_or_default());
            };
            let Some((&first, text)) = text.split_first() else { return false };
            let (set, rest) = rest.split_at(end);
            in_set(set, first) && matches(rest.get(1..).unwrap_or_default(), text)
        }
        [wanted, rest @ ..] => match text.split_first() {
            Some((given, text)) if given == wanted || (*wanted == b'?' && *given != b'/') => {
                matches(rest, text)
            }
            _ => false,
        },
    }
}

fn in_set(set: &[u8], given: u8) -> bool {
    let (is_negated, mut set) = match set {
        [b'!' | b'^', rest @ ..] => (true, rest),
        _ => (false, set),
    };
    let mut is_in = false;
    while let [first, rest @ ..] = set {
        if let [b'-', last, rest @ ..] = rest {
            is_in |= (*first..=*last).contains(&given);
            set = rest;
        } else {
            is_in |= *first == given;
            set = rest;
        }
    }
    is_in != is_negated && given != b'/'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_names_and_paths() {
        let cases = [
            ("*.bak", "a.bak", true),
            ("*.bak", "a.bak2", false),
            ("a/*.txt", "a/b.txt", true),
            ("a/*.txt", "a/b/c.txt", false),
            ("a/**/c.txt", "a/c.txt", true),
            ("a/**/c.txt", "a/b/d/c.txt", true),
            ("**/x", "x", true),
            ("a/**", "a/b/c", true),
            ("[a-c]?.h", "b1.h", true),
            ("[!a-c]?.h", "b1.h", false),
            ("[x", "[x", true),
            ("?", "/", false),
        ];
        for (pattern, text, expected) in cases {
            assert_eq!(matches(pattern.as_bytes(), text.as_bytes()), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn patterns_are_relative_to_their_folder() {
        let patterns = vec![
            (PathBuf::from("src/files"), "lib/*.md".to_owned()),
            (PathBuf::from("src"), "*.bak".to_owned()),
        ];
        let ignored = Ignored { patterns };
        assert!(ignored.contains(Path::new("src/files/lib/a.md")));
        assert!(!ignored.contains(Path::new("src/files/a.md")));
        assert!(ignored.contains(Path::new("src/files/x/y.bak")));
        assert!(!ignored.contains(Path::new("other/y.bak")));
    }
}
