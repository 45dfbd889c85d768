//! Files that a space, or a home, keeps beside its events. Whoever keeps them in another way than as files below one
//! directory implements [`Extras`].

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Longest name, bytes.
const NAME_BYTES: usize = 200;
/// Directories below each other.
const DEPTH: usize = 8;

/// One file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extra {
    /// Its name: see [`is_extra_name`]. Where the last part is 64 hexadecimal digits it is the SHA-256 of the bytes, and
    /// they never change.
    pub name: String,
    /// Its length in bytes.
    pub size: u64,
}

/// Whether this can be the name of a file: parts of graphic ASCII with `/` between them, none of which begins with a dot.
pub fn is_extra_name(name: &str) -> bool {
    let is_part = |part: &str| {
        !part.is_empty()
            && !part.starts_with('.')
            && part
                .bytes()
                .all(|byte| byte.is_ascii_graphic() && byte != b'\\')
    };
    name.len() <= NAME_BYTES && name.split('/').count() <= DEPTH && name.split('/').all(is_part)
}

/// Files beside events. All calls block.
pub trait Extras: Send + Sync {
    /// All of them, in any order.
    fn list(&self) -> io::Result<Vec<Extra>>;
    /// The bytes of one; `None` if it is gone.
    fn open(&self, name: &str) -> io::Result<Option<Box<dyn Read + Send>>>;
    /// Takes one into a space that is not served yet. Returns once it is on disk.
    fn put(&self, name: &str, bytes: &mut dyn Read) -> io::Result<()>;
}

/// The files below one directory. Links, names that begin with a dot, what is being written (`*.new`) and indexes that
/// can be built anew (`*.sqlite` and what SQLite puts beside them) are left out.
#[derive(Debug, Clone)]
pub struct Tree(PathBuf);

impl Tree {
    /// Takes a directory, which need not exist.
    pub const fn new(path: PathBuf) -> Self {
        Self(path)
    }

    fn collect(&self, path: &Path, prefix: &str, found: &mut Vec<Extra>) -> io::Result<()> {
        let entries = match fs::read_dir(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            entries => entries?,
        };
        for entry in entries {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else {
                continue;
            };
            let whole = format!("{prefix}{name}");
            let kind = entry.file_type()?;
            if !is_extra_name(&whole) {
                continue;
            }
            if kind.is_dir() {
                self.collect(&entry.path(), &format!("{whole}/"), found)?;
            } else if kind.is_file() && !is_passing(&name) {
                match entry.metadata() {
                    Ok(metadata) => found.push(Extra {
                        name: whole,
                        size: metadata.len(),
                    }),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(())
    }
}

fn is_passing(name: &str) -> bool {
    name.ends_with(".new") || name.ends_with(".sqlite") || name.contains(".sqlite-")
}

impl Extras for Tree {
    fn list(&self) -> io::Result<Vec<Extra>> {
        let mut found = Vec::new();
        self.collect(&self.0, "", &mut found)?;
        found.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(found)
    }

    fn open(&self, name: &str) -> io::Result<Option<Box<dyn Read + Send>>> {
        if !is_extra_name(name) {
            return Ok(None);
        }
        let path = self.0.join(name);
        match fs::symlink_metadata(&path) {
            Ok(metadata) if metadata.is_file() => Ok(Some(Box::new(File::open(path)?))),
            Ok(_) => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn put(&self, name: &str, bytes: &mut dyn Read) -> io::Result<()> {
        if !is_extra_name(name) || is_passing(name) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("no file can be called {name:?}"),
            ));
        }
        let path = self.0.join(name);
        let parent = path.parent().unwrap_or(&self.0);
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(parent)?;
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)?;
        io::copy(bytes, &mut file)?;
        file.sync_all()?;
        File::open(parent)?.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_goes_over_whole_and_nothing_gets_out_of_its_directory() {
        let dir = tempfile::tempdir().unwrap();
        let from = Tree::new(dir.path().join("from"));
        assert_eq!(from.list().unwrap(), []);
        from.put("a/b/c", &mut &b"deep"[..]).unwrap();
        from.put("top", &mut &b"flat"[..]).unwrap();
        for name in [
            "",
            "../x",
            "a/../../x",
            "/etc/x",
            ".hidden",
            "a//b",
            "a\nb",
            "x.sqlite",
            "a/b.new",
        ] {
            assert!(from.put(name, &mut &b"x"[..]).is_err(), "{name:?}");
        }
        assert!(
            from.put("top", &mut &b"again"[..]).is_err(),
            "nothing is overwritten"
        );
        let root = dir.path().join("from");
        fs::write(root.join("index.sqlite-wal"), "x").unwrap();
        fs::write(root.join("half.new"), "x").unwrap();
        fs::write(dir.path().join("secret"), "x").unwrap();
        std::os::unix::fs::symlink(dir.path().join("secret"), root.join("link")).unwrap();
        let names: Vec<_> = from
            .list()
            .unwrap()
            .into_iter()
            .map(|extra| (extra.name, extra.size))
            .collect();
        assert_eq!(names, [("a/b/c".to_owned(), 4), ("top".to_owned(), 4)]);
        assert!(from.open("link").unwrap().is_none());
        assert!(from.open("../secret").unwrap().is_none());
        let mut bytes = Vec::new();
        from.open("a/b/c")
            .unwrap()
            .unwrap()
            .read_to_end(&mut bytes)
            .unwrap();
        assert_eq!(bytes, b"deep");
    }
}
