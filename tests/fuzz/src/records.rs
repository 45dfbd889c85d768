//! Signed records, names, and maps of foreign meshes.

use warren_mesh::descriptor::Descriptor;
use warren_mesh::routing::anchor::{ANCHOR_LEN, AnchorRecord};
use warren_mesh::service::{Day, ServiceCertificate, ServiceKey};
use warren_mesh::sim::foreign;
use warren_mesh::wire::Reader;

/// A chain's anchor: encodes to the bytes it came from.
pub fn anchor(bytes: &[u8]) {
    let mut reader = Reader::new(bytes);
    let Ok(record) = AnchorRecord::decode(&mut reader) else {
        return;
    };
    let mut encoded = Vec::new();
    record.encode(&mut encoded);
    assert_eq!(encoded, bytes[..ANCHOR_LEN]);
    let _ = (record.verify(), record.address(), record.position());
}

/// A node's descriptor with the services in it.
pub fn descriptor(bytes: &[u8]) {
    if let Ok(descriptor) = Descriptor::decode(bytes) {
        for day in [0, 20_000, u32::MAX] {
            let _ = descriptor.verified_services(Day(day)).count();
        }
    }
}

/// A service's name and certificate.
pub fn service(bytes: &[u8]) {
    if let Ok(certificate) = ServiceCertificate::decode(bytes) {
        assert_eq!(certificate.encode(), bytes);
        for day in [0, certificate.first_day.0, u32::MAX] {
            let _ = certificate.verify(Day(day));
        }
    }
    if let Ok(text) = core::str::from_utf8(bytes)
        && let Ok(key) = text.parse::<ServiceKey>()
    {
        assert_eq!(key.to_string(), text, "a name has one spelling");
    }
}

/// A foreign map.
pub fn map(bytes: &[u8]) {
    if let Err(error) = foreign::parse(bytes) {
        assert!(!error.to_string().is_empty());
    }
}
