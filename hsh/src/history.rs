//! Lines typed earlier, kept between sessions in a file of the user.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The history. Without a home directory there is none; a file that cannot be written is not missed.
pub(crate) struct History {
    path: Option<PathBuf>,
}

impl History {
    /// The user's history: `$HSH_HISTORY`, or `.hsh_history` in the home directory.
    pub(crate) fn open() -> Self {
        let home = || Some(Path::new(&std::env::var_os("HOME")?).join(".hsh_history"));
        let path = std::env::var_os("HSH_HISTORY").map(PathBuf::from).or_else(home);
        Self { path: path.filter(|path| !path.as_os_str().is_empty()) }
    }

    /// The last lines, oldest first.
    pub(crate) fn lines(&self) -> Vec<String> {
        let text = self.path.as_ref().and_then(|path| std::fs::read_to_string(path).ok());
        let text = text.unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        let from = lines.len().saturating_sub(MAX_LINES);
        let kept: Vec<String> = lines.into_iter().skip(from).map(str::to_owned).collect();
        // The file is cut when it has grown to twice of what is wanted.
        if from > MAX_LINES
            && let Some(path) = &self.path
        {
            let _ = std::fs::write(path, kept.join("\n") + "\n");
        }
        kept
    }

    /// Adds a line.
    pub(crate) fn append(&self, line: &str) {
        let Some(path) = self.path.as_ref().filter(|_| !line.trim().is_empty()) else { return };
        // Scripts hold passwords at times: the file is for its owner alone.
        let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path);
        if let Ok(mut file) = file {
            let _ = writeln!(file, "{line}");
        }
    }
}

/// Lines that are offered again.
const MAX_LINES: usize = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_back_and_the_file_stays_small() {
        let folder = tempfile::tempdir().unwrap();
        let history = History { path: Some(folder.path().join("history")) };
        assert!(history.lines().is_empty());
        for number in 0..2 * MAX_LINES + 5 {
            history.append(&format!("echo {number};"));
        }
        history.append("  ");
        let lines = history.lines();
        assert_eq!(lines.len(), MAX_LINES);
        assert_eq!(lines.last().unwrap(), &format!("echo {};", 2 * MAX_LINES + 4));
        let stored = std::fs::read_to_string(folder.path().join("history")).unwrap();
        assert_eq!(stored.lines().count(), MAX_LINES);
    }
}
