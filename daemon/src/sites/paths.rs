//! Names of files in a site, and what a request's path asks for. Whatever begins with a dot is not there: it was never
//! meant for readers (`.git`, `.htpasswd`), and `..` leads out.

/// Longest name of one file or folder, bytes.
const PART_MAX: usize = 255;
/// Longest path, bytes.
const PATH_MAX: usize = 1024;
/// Folders below each other.
pub const DEPTH_MAX: usize = 32;

/// What a path asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The names that lead there, none for the site itself.
    pub names: Vec<String>,
    /// Whether it is a folder, by its last slash.
    pub is_folder: bool,
}

/// Whether a file or folder of a site can be called so.
pub fn is_part(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= PART_MAX
        && !name.starts_with('.')
        && !name.contains(|c: char| c == '/' || c.is_control())
}

/// The parts of a file's name with `/` between them; `None` if no file can be called so.
pub fn parts(name: &str) -> Option<Vec<&str>> {
    let parts: Vec<&str> = name.split('/').collect();
    let fits = name.len() <= PATH_MAX && parts.len() <= DEPTH_MAX;
    (fits && parts.iter().all(|part| is_part(part))).then_some(parts)
}

/// Reads the path of a request (RFC 3986, section 3.3); `None` for one that can lead to nothing.
pub fn wanted(path: &str) -> Option<Wanted> {
    let path = path.strip_prefix('/')?;
    if path.len() > 3 * PATH_MAX {
        return None;
    }
    let mut names = path
        .split('/')
        .map(warren_home::percent_decoded)
        .collect::<Option<Vec<_>>>()?;
    let is_folder = names.last().is_some_and(String::is_empty);
    if is_folder {
        names.pop();
    }
    let fits = names.len() <= DEPTH_MAX
        && names.iter().map(|name| name.len() + 1).sum::<usize>() <= PATH_MAX + 1;
    (fits && names.iter().all(|name| is_part(name))).then_some(Wanted { names, is_folder })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_path_leads_to_a_file_or_folder_and_never_out() {
        let read = |path: &str| wanted(path).map(|found| (found.names.join("|"), found.is_folder));
        for (path, names, is_folder) in [
            ("/", "", true),
            ("/a.html", "a.html", false),
            ("/a/", "a", true),
            ("/a/b%20c/%C3%A9.txt", "a|b c|é.txt", false),
            ("/a..b/c.", "a..b|c.", false),
        ] {
            assert_eq!(read(path), Some((names.to_owned(), is_folder)), "{path}");
        }
        for path in [
            "",
            "a",
            "//",
            "/a//b",
            "/.git/config",
            "/a/.b",
            "/..",
            "/a/../b",
            "/%2e%2e/b",
            "/%2E./b",
            "/a%2fb",
            "/a%00",
            "/a%0a",
            "/%",
            "/%4",
            "/%zz",
            "/%+1",
            "/%ff",
            "/a/./b",
            &format!("/{}", "a".repeat(256)),
            &"/a".repeat(DEPTH_MAX + 1),
            &format!("/{}", "%61".repeat(2000)),
        ] {
            assert_eq!(read(path), None, "{path}");
        }
        assert_eq!(parts("a/b c/é"), Some(vec!["a", "b c", "é"]));
        for name in ["", "/a", "a/", "a//b", ".a", "a/..", "a\nb"] {
            assert_eq!(parts(name), None, "{name}");
        }
    }

    proptest! {
        #[test]
        fn every_name_can_be_asked_for(names in prop::collection::vec("[^/\\.\\x00-\\x1f\\x7f-\\x9f][^/\\x00-\\x1f\\x7f-\\x9f]{0,20}", 1..5), path in ".{0,60}") {
            let encoded: String = names.iter().map(|name| {
                let bytes: String = name.bytes().map(|byte| format!("%{byte:02X}")).collect();
                format!("/{bytes}")
            }).collect();
            prop_assert_eq!(wanted(&encoded), Some(Wanted { names, is_folder: false }));
            if let Some(found) = wanted(&path) {
                prop_assert!(found.names.iter().all(|name| is_part(name)));
            }
        }
    }
}
