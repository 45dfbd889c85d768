//! What neighbours say inside sealed frames.

use warren_mesh::message::Message;

/// Whatever decodes is the same after encoding and decoding, and takes no more room than it came in.
pub fn messages(bytes: &[u8]) {
    let Ok(said) = Message::decode_all(bytes) else {
        return;
    };
    let mut encoded = Vec::new();
    for message in &said {
        message.encode(&mut encoded);
    }
    assert_eq!(encoded.len(), bytes.len(), "an encoding has one length");
    assert_eq!(Message::decode_all(&encoded).as_ref(), Ok(&said));
}
