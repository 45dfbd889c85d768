//! The files of one folder. Each is opened name by name from the folder itself (openat(2), O_NOFOLLOW), so that neither a
//! link nor somebody who moves things about at that moment leads out of it. Links, names that begin with a dot and
//! everything that is no plain file are not there.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{Dir, FileType, Mode, OFlags};
use rustix::io::Errno;
use warren_space::export::{Extra, Extras};

use super::paths::{DEPTH_MAX, is_part, parts};

/// An open folder.
#[derive(Clone, Debug)]
pub struct Folder(Arc<OwnedFd>);

/// What is called so.
#[derive(Debug)]
pub enum Found {
    /// A plain file, open for reading.
    File(File),
    /// A folder.
    Folder,
}

/// What was seen of a folder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contents {
    /// Its files, by name: names of folders with `/` between them.
    pub files: Vec<Extra>,
    /// Names that were left out: links, devices, names that are no text or begin with a dot.
    pub left_out: u64,
}

const FOLDER: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);
/// A pipe would keep the opener waiting without NONBLOCK.
const FILE: OFlags = OFlags::RDONLY
    .union(OFlags::NOFOLLOW)
    .union(OFlags::NONBLOCK)
    .union(OFlags::NOCTTY)
    .union(OFlags::CLOEXEC);

/// Whether an error means that nothing of this name is there for readers.
fn is_absent(error: Errno) -> bool {
    [
        Errno::NOENT,
        Errno::NOTDIR,
        Errno::LOOP,
        Errno::NAMETOOLONG,
        Errno::NXIO,
    ]
    .contains(&error)
}

fn optional<T>(result: Result<T, Errno>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if is_absent(error) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

impl Folder {
    /// Opens a folder. The path itself may lead over links.
    pub fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self(Arc::new(rustix::fs::open(
            path,
            flags,
            Mode::empty(),
        )?)))
    }

    /// The folder that holds the last of these names, if the others lead there.
    fn parent(&self, names: &[impl AsRef<str>]) -> io::Result<Option<Arc<OwnedFd>>> {
        let mut at = Arc::clone(&self.0);
        for name in &names[..names.len().saturating_sub(1)] {
            let next = rustix::fs::openat(&*at, name.as_ref(), FOLDER, Mode::empty());
            match optional(next)? {
                Some(next) => at = Arc::new(next),
                None => return Ok(None),
            }
        }
        Ok(Some(at))
    }

    /// What these names lead to; `None`: nothing for readers.
    pub fn find(&self, names: &[impl AsRef<str>]) -> io::Result<Option<Found>> {
        let Some(last) = names.last() else {
            return Ok(Some(Found::Folder));
        };
        if !names.iter().all(|name| is_part(name.as_ref())) {
            return Ok(None);
        }
        let Some(parent) = self.parent(names)? else {
            return Ok(None);
        };
        let opened = rustix::fs::openat(&*parent, last.as_ref(), FILE, Mode::empty());
        let Some(opened) = optional(opened)? else {
            return Ok(None);
        };
        let kind = FileType::from_raw_mode(rustix::fs::fstat(&opened)?.st_mode);
        Ok(match kind {
            FileType::RegularFile => Some(Found::File(opened.into())),
            FileType::Directory => Some(Found::Folder),
            _ => None,
        })
    }

    /// All files in it and in folders below.
    pub fn contents(&self) -> io::Result<Contents> {
        let mut contents = Contents::default();
        collect(&self.0, "", 1, &mut contents)?;
        contents.files.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(contents)
    }
}

fn collect(at: &impl AsFd, prefix: &str, depth: usize, contents: &mut Contents) -> io::Result<()> {
    for entry in Dir::read_from(at)? {
        let entry = entry?;
        let name = match entry.file_name().to_str() {
            Ok("." | "..") => continue,
            Ok(name) => name,
            Err(_) => "",
        };
        let whole = format!("{prefix}{name}");
        if parts(&whole).is_none() {
            contents.left_out += 1;
            continue;
        }
        let opened = rustix::fs::openat(at, name, FILE, Mode::empty());
        let Some(opened) = optional(opened).map_err(|error| named(&whole, error))? else {
            contents.left_out += 1;
            continue;
        };
        let metadata = rustix::fs::fstat(&opened)?;
        match FileType::from_raw_mode(metadata.st_mode) {
            FileType::RegularFile => contents.files.push(Extra {
                name: whole,
                size: u64::try_from(metadata.st_size).unwrap_or(0),
            }),
            FileType::Directory if depth < DEPTH_MAX => {
                collect(&opened, &format!("{whole}/"), depth + 1, contents)?;
            }
            _ => contents.left_out += 1,
        }
    }
    Ok(())
}

/// An error that says which file it is about.
fn named(name: &str, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{name}: {error}"))
}

/// The copy of a folder below a directory of ours.
#[derive(Clone, Debug)]
pub struct Pages(PathBuf);

impl Pages {
    /// Takes the directory, which need not exist.
    pub const fn new(path: PathBuf) -> Self {
        Self(path)
    }

    /// Copies a folder here, with the dates of its files.
    pub fn copy(&self, from: &Folder) -> io::Result<Contents> {
        let contents = from.contents()?;
        make_dir(&self.0)?;
        for file in &contents.files {
            let names: Vec<&str> = file.name.split('/').collect();
            // One that went in the meantime is not there any more.
            let Some(Found::File(mut bytes)) = from.find(&names)? else {
                continue;
            };
            let date = bytes.metadata()?.modified()?;
            let copied = self.put(&file.name, &mut bytes).and_then(|()| {
                let copy = OpenOptions::new()
                    .append(true)
                    .open(self.0.join(&file.name))?;
                copy.set_modified(date)
            });
            copied.map_err(|error| named(&file.name, error))?;
        }
        Ok(contents)
    }
}

fn make_dir(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
}

impl Extras for Pages {
    fn list(&self) -> io::Result<Vec<Extra>> {
        match Folder::open(&self.0) {
            Ok(folder) => Ok(folder.contents()?.files),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    fn open(&self, name: &str) -> io::Result<Option<Box<dyn Read + Send>>> {
        let Some(names) = parts(name) else {
            return Ok(None);
        };
        Ok(match Folder::open(&self.0)?.find(&names)? {
            Some(Found::File(file)) => Some(Box::new(file)),
            _ => None,
        })
    }

    fn put(&self, name: &str, bytes: &mut dyn Read) -> io::Result<()> {
        if parts(name).is_none() {
            let what = format!("no file of a site can be called {name:?}");
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
        let path = self.0.join(name);
        make_dir(path.parent().unwrap_or(&self.0))?;
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)?;
        io::copy(bytes, &mut file)?;
        file.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn text(found: Option<Found>) -> Option<String> {
        match found? {
            Found::File(mut file) => {
                let mut text = String::new();
                file.read_to_string(&mut text).unwrap();
                Some(text)
            }
            Found::Folder => Some("a folder".into()),
        }
    }

    #[test]
    fn only_plain_files_are_there_and_nothing_leads_out() {
        let parent = tempfile::tempdir().unwrap();
        let root = parent.path().join("site");
        fs::create_dir_all(root.join("a/b")).unwrap();
        fs::write(parent.path().join("secret"), "secret").unwrap();
        fs::write(root.join("index.html"), "home").unwrap();
        fs::write(root.join("a/b/é c.txt"), "deep").unwrap();
        fs::write(root.join(".htpasswd"), "secret").unwrap();
        symlink("../secret", root.join("out")).unwrap();
        symlink("index.html", root.join("in")).unwrap();
        symlink("..", root.join("a/up")).unwrap();
        rustix::fs::mknodat(
            rustix::fs::CWD,
            root.join("pipe"),
            FileType::Fifo,
            Mode::RUSR,
            0,
        )
        .unwrap();
        let folder = Folder::open(&root).unwrap();
        let find = |names: &[&str]| text(folder.find(names).unwrap());
        assert_eq!(find(&["index.html"]).as_deref(), Some("home"));
        assert_eq!(find(&["a", "b", "é c.txt"]).as_deref(), Some("deep"));
        assert_eq!(find(&["a"]).as_deref(), Some("a folder"));
        for names in [
            &["out"][..],
            &["in"],
            &["pipe"],
            &["a", "up", "secret"],
            &["a", "up"],
            &["..", "secret"],
            &[".htpasswd"],
            &["index.html", "x"],
            &["no"],
        ] {
            assert_eq!(find(names), None, "{names:?}");
        }
        let copy = Pages::new(parent.path().join("copy"));
        let contents = copy.copy(&folder).unwrap();
        let names: Vec<&str> = contents.files.iter().map(|file| &*file.name).collect();
        assert_eq!(names, ["a/b/é c.txt", "index.html"]);
        assert_eq!(contents.left_out, 5);
        assert_eq!(copy.list().unwrap(), contents.files);
        let date = |path: PathBuf| fs::metadata(path).unwrap().modified().unwrap();
        assert_eq!(
            date(root.join("index.html")),
            date(parent.path().join("copy/index.html"))
        );
        assert!(copy.open("../secret").unwrap().is_none());
        assert!(copy.put("../new", &mut &b"x"[..]).is_err());
        // A folder that is replaced by a link while it is read.
        fs::rename(root.join("a"), root.join("old")).unwrap();
        symlink(parent.path(), root.join("a")).unwrap();
        assert_eq!(find(&["a", "secret"]), None);
    }
}
