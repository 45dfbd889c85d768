//! Media types: what is kept of what an uploader says, and how a browser is kept from running what it is given.

/// The type of what has none (BUD-01).
pub const UNKNOWN: &str = "application/octet-stream";
/// Longest type that is kept, in bytes.
const TYPE_BYTES: usize = 100;
/// What a browser may do with a file that it would otherwise open as a page: show it, and nothing more.
pub const SANDBOX: &str = "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; form-action 'none'; frame-ancestors 'none'";

/// Extensions for the address of a file. Others end in `.bin`.
const EXTENSIONS: [(&str, &str); 32] = [
    ("application/gzip", "gz"),
    ("application/json", "json"),
    ("application/pdf", "pdf"),
    ("application/vnd.android.package-archive", "apk"),
    ("application/x-bittorrent", "torrent"),
    ("application/zip", "zip"),
    ("audio/aac", "aac"),
    ("audio/flac", "flac"),
    ("audio/mp4", "m4a"),
    ("audio/mpeg", "mp3"),
    ("audio/ogg", "ogg"),
    ("audio/opus", "opus"),
    ("audio/wav", "wav"),
    ("audio/webm", "weba"),
    ("image/apng", "apng"),
    ("image/avif", "avif"),
    ("image/bmp", "bmp"),
    ("image/gif", "gif"),
    ("image/heic", "heic"),
    ("image/jpeg", "jpg"),
    ("image/png", "png"),
    ("image/svg+xml", "svg"),
    ("image/webp", "webp"),
    ("text/css", "css"),
    ("text/csv", "csv"),
    ("text/html", "html"),
    ("text/markdown", "md"),
    ("text/plain", "txt"),
    ("text/vcard", "vcf"),
    ("video/mp4", "mp4"),
    ("video/quicktime", "mov"),
    ("video/webm", "webm"),
];

/// What is kept of a `Content-Type`: type and subtype in small letters, and `charset=utf-8` if it says so. What is no media
/// type (RFC 9110, section 8.3.1) is of unknown type.
pub fn clean(text: Option<&str>) -> String {
    let Some(text) = text else {
        return UNKNOWN.into();
    };
    let mut parts = text.split(';');
    let essence = parts.next().unwrap_or_default().trim().to_ascii_lowercase();
    let is_type = essence.len() <= TYPE_BYTES
        && essence
            .split_once('/')
            .is_some_and(|(kind, subtype)| is_token(kind) && is_token(subtype));
    if !is_type {
        return UNKNOWN.into();
    }
    let is_utf8 = parts.any(|parameter| {
        parameter.split_once('=').is_some_and(|(name, value)| {
            name.trim().eq_ignore_ascii_case("charset")
                && value.trim().trim_matches('"').eq_ignore_ascii_case("utf-8")
        })
    });
    if is_utf8 {
        essence + "; charset=utf-8"
    } else {
        essence
    }
}

fn is_token(text: &str) -> bool {
    let ok = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&byte);
    !text.is_empty() && text.bytes().all(ok)
}

fn essence(media_type: &str) -> &str {
    media_type.split(';').next().unwrap_or_default().trim()
}

/// The extension a file's address gets.
pub fn extension(media_type: &str) -> &'static str {
    let wanted = essence(media_type);
    EXTENSIONS
        .iter()
        .find(|(known, _)| *known == wanted)
        .map_or("bin", |(_, extension)| extension)
}

/// Whether a browser shows files of a type without running anything in them. All others are sandboxed.
pub fn is_harmless(media_type: &str) -> bool {
    let wanted = essence(media_type);
    let family = wanted.split('/').next().unwrap_or_default();
    match family {
        "image" => !wanted.ends_with("xml"),
        "audio" | "video" => true,
        _ => [UNKNOWN, "application/pdf", "text/plain"].contains(&wanted),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_kept_as_far_as_they_are_types() {
        for (given, kept) in [
            ("image/PNG", "image/png"),
            (
                "text/plain; charset=\"UTF-8\"; x=y",
                "text/plain; charset=utf-8",
            ),
            ("text/html;charset=latin1", "text/html"),
            ("", UNKNOWN),
            ("png", UNKNOWN),
            ("image/", UNKNOWN),
            ("image/p\r\nX: y", UNKNOWN),
            ("image/a b", UNKNOWN),
        ] {
            assert_eq!(clean(Some(given)), kept, "{given}");
        }
        assert_eq!(clean(Some(&"a/".repeat(200))), UNKNOWN);
        assert_eq!(clean(None), UNKNOWN);
        assert_eq!(extension("image/jpeg"), "jpg");
        assert_eq!(extension("text/plain; charset=utf-8"), "txt");
        assert_eq!(extension("x/y"), "bin");
    }

    #[test]
    fn what_a_browser_could_run_is_sandboxed() {
        for harmless in ["image/png", "video/mp4", "audio/ogg", "text/plain", UNKNOWN] {
            assert!(is_harmless(harmless), "{harmless}");
        }
        for other in [
            "image/svg+xml",
            "text/html",
            "text/html; charset=utf-8",
            "application/xhtml+xml",
            "text/xml",
            "application/javascript",
            "text/javascript",
            "application/x-shockwave-flash",
        ] {
            assert!(!is_harmless(other), "{other}");
        }
    }
}
