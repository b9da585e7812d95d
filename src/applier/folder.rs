//! What is in the manifest directory right now, read whole and within bounds.
//!
//! Contents are compared, not times: an editor that writes a file anew, a rename over it and the symbolic links of a
//! mounted `ConfigMap` all look the same here, and a file that was touched looks like nothing at all.

use std::collections::BTreeMap;
use std::fs::File;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Read};
use std::path::Path;

use tagwarden_api::manifests::MAX_FILE_BYTES;

/// The most manifest files of a directory.
pub const FILES_MAX: usize = 1_000;

/// The most bytes of them together.
pub const BYTES_MAX: usize = 64 << 20;

/// The endings of manifest files.
const ENDINGS: [&str; 3] = ["yaml", "yml", "json"];

/// Why the directory as a whole cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FolderError {
    /// It is not there, or cannot be read.
    #[error("the manifest directory cannot be read: {0}")]
    Unreadable(String),
    /// More than is read.
    #[error("the manifest directory holds more than {FILES_MAX} files ending in .yaml, .yml or .json")]
    TooMany,
    /// More than is read.
    #[error("the manifest files hold more than {} MiB together", BYTES_MAX >> 20)]
    TooLarge,
}

/// The manifest files by name: their contents, or why one cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Folder {
    pub files: BTreeMap<String, Result<Vec<u8>, String>>,
}

impl Folder {
    /// Reads the files right in the directory. Those that editors and mounts keep for themselves are left out.
    pub fn read(directory: &Path) -> Result<Self, FolderError> {
        let unreadable = |error: io::Error| FolderError::Unreadable(error.to_string());
        let mut files = BTreeMap::new();
        let mut bytes = 0;
        for entry in std::fs::read_dir(directory).map_err(unreadable)? {
            let path = entry.map_err(unreadable)?.path();
            let Some(name) = path.file_name().and_then(|name| name.to_str()).filter(|name| is_manifest(name))
            else {
                continue;
            };
            match contents(&path) {
                // It went away between the listing and now, or is a directory.
                Ok(None) => continue,
                Err(error) => files.insert(name.to_owned(), Err(error.to_string())),
                Ok(Some(content)) => {
                    bytes += content.len();
                    files.insert(name.to_owned(), Ok(content))
                }
            };
            if files.len() > FILES_MAX {
                return Err(FolderError::TooMany);
            }
            if bytes > BYTES_MAX {
                return Err(FolderError::TooLarge);
            }
        }
        Ok(Self { files })
    }

    /// Differs when anything differs.
    pub fn digest(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.files.hash(&mut hasher);
        hasher.finish()
    }
}

fn is_manifest(name: &str) -> bool {
    let ending = name.rsplit_once('.').map(|(_, ending)| ending);
    !name.starts_with('.') && !name.starts_with('#') && ending.is_some_and(|ending| ENDINGS.contains(&ending))
}

/// The content, one byte beyond the limit at most: a file that is too large is refused when it is parsed.
fn contents(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let gone = |error: &io::Error| error.kind() == io::ErrorKind::NotFound;
    match std::fs::metadata(path) {
        Err(error) if gone(&error) => return Ok(None),
        Err(error) => return Err(error),
        // Opening a pipe would wait for its writer.
        Ok(metadata) if !metadata.is_file() => return Ok(None),
        Ok(_) => {}
    }
    let mut content = Vec::new();
    match File::open(path).and_then(|file| file.take(MAX_FILE_BYTES as u64 + 1).read_to_end(&mut content)) {
        Ok(_) => Ok(Some(content)),
        Err(error) if gone(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    fn names(folder: &Folder) -> Vec<&str> {
        folder.files.keys().map(String::as_str).collect()
    }

    #[test]
    fn only_manifests_are_read() {
        let directory = tempfile::tempdir().unwrap();
        for name in [
            "a.yaml",
            "b.yml",
            "c.json",
            ".a.yaml",
            ".a.yaml.swp",
            "a.yaml~",
            "#a.yaml#",
            "4913",
            "a.yaml.tmp",
            "A.md",
        ] {
            fs::write(directory.path().join(name), "x").unwrap();
        }
        fs::create_dir(directory.path().join("nested.yaml")).unwrap();
        symlink("nowhere", directory.path().join("dangling.yaml")).unwrap();
        assert_eq!(names(&Folder::read(directory.path()).unwrap()), ["a.yaml", "b.yml", "c.json"]);
    }

    #[test]
    fn a_mounted_config_map_changes_when_its_link_moves() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        for (version, text) in [("..1", "one"), ("..2", "two")] {
            fs::create_dir(path(version)).unwrap();
            fs::write(path(version).join("policy.yaml"), text).unwrap();
        }
        symlink("..1", path("..data")).unwrap();
        symlink("..data/policy.yaml", path("policy.yaml")).unwrap();
        let before = Folder::read(directory.path()).unwrap();
        assert_eq!(before.files["policy.yaml"], Ok(b"one".to_vec()));
        symlink("..2", path("..next")).unwrap();
        fs::rename(path("..next"), path("..data")).unwrap();
        let after = Folder::read(directory.path()).unwrap();
        assert_eq!(after.files["policy.yaml"], Ok(b"two".to_vec()));
        assert_ne!(before.digest(), after.digest());
    }

    #[test]
    fn writing_the_same_again_changes_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("a.yaml");
        fs::write(&file, "x").unwrap();
        let before = Folder::read(directory.path()).unwrap().digest();
        fs::remove_file(&file).unwrap();
        fs::write(&file, "x").unwrap();
        assert_eq!(before, Folder::read(directory.path()).unwrap().digest());
    }

    #[test]
    fn bounds_hold() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("large.yaml"), vec![b'x'; MAX_FILE_BYTES + 100]).unwrap();
        let folder = Folder::read(directory.path()).unwrap();
        assert_eq!(folder.files["large.yaml"].as_ref().unwrap().len(), MAX_FILE_BYTES + 1);
        for number in 0..FILES_MAX {
            fs::write(directory.path().join(format!("{number}.yaml")), "").unwrap();
        }
        assert_eq!(Folder::read(directory.path()), Err(FolderError::TooMany));
        assert!(matches!(Folder::read(&directory.path().join("absent")), Err(FolderError::Unreadable(_))));
    }
}
