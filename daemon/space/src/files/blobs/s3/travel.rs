//! The files of a space on an S3 store, for exports and imports: as [`crate::export::Tree`] has those of a directory.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::{ObjectContent, Objects};
use crate::disk::{Directory, Disk};
use crate::export::{Extra, Extras, Tree};
use crate::files::blobs::{Content, FileHash};

/// While a file that comes in is written and hashed.
const INCOMING: &str = "import.part";
const BUFFER: usize = 64 * 1024;

/// See the module.
pub struct ObjectExtras {
    objects: Arc<Objects>,
    directory: PathBuf,
}

struct Whole {
    content: ObjectContent,
    size: u64,
    offset: u64,
}

impl Read for Whole {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.size - self.offset).unwrap_or(usize::MAX);
        let now = buffer.len().min(left);
        self.content.read_at(&mut buffer[..now], self.offset)?;
        self.offset += now as u64;
        Ok(now)
    }
}

impl ObjectExtras {
    /// With the directory in which files are while they come in.
    pub fn new(objects: Objects, directory: &Path) -> Self {
        Self {
            objects: Arc::new(objects),
            directory: directory.to_owned(),
        }
    }

    fn take(&self, hash: FileHash, bytes: &mut dyn Read) -> io::Result<()> {
        let disk = Directory::open(&self.directory)?;
        let file = disk.create(INCOMING)?;
        let (mut hasher, mut size) = (Sha256::new(), 0);
        let mut buffer = vec![0; BUFFER];
        loop {
            let read = bytes.read(&mut buffer)?;
            if read == 0 {
                break;
            }
            file.write_at(&buffer[..read], size)?;
            hasher.update(&buffer[..read]);
            size += read as u64;
        }
        let result = if FileHash::from_bytes(hasher.finalize().into()) == hash {
            let put = self.objects.put(&hash, &*file, size);
            put.map_err(|error| io::Error::other(error.to_string()))
        } else {
            let what = "a file is not what its name says";
            Err(io::Error::new(io::ErrorKind::InvalidData, what))
        };
        disk.remove(INCOMING)?;
        result
    }
}

impl Extras for ObjectExtras {
    fn list(&self) -> io::Result<Vec<Extra>> {
        let mut found = Tree::new(self.directory.clone()).list()?;
        found.retain(|extra| !extra.name.ends_with(".part") && !extra.name.ends_with(".upload"));
        let objects = self
            .objects
            .list()
            .map_err(|error| io::Error::other(error.to_string()))?;
        found.extend(objects.into_iter().map(|(hash, size)| Extra {
            name: hash.to_string(),
            size,
        }));
        Ok(found)
    }

    fn open(&self, name: &str) -> io::Result<Option<Box<dyn Read + Send>>> {
        let Some(hash) = FileHash::parse(name) else {
            return Tree::new(self.directory.clone()).open(name);
        };
        let size = self
            .objects
            .size(&hash)
            .map_err(|error| io::Error::other(error.to_string()))?;
        Ok(size.map(|size| -> Box<dyn Read + Send> {
            let content = ObjectContent::new(Arc::clone(&self.objects), hash, size, None);
            Box::new(Whole {
                content,
                size,
                offset: 0,
            })
        }))
    }

    fn put(&self, name: &str, bytes: &mut dyn Read) -> io::Result<()> {
        match FileHash::parse(name) {
            Some(hash) => self.take(hash, bytes),
            None => Tree::new(self.directory.clone()).put(name, bytes),
        }
    }
}
