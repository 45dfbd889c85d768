//! A fuzzer's bytes read as a small program: numbers and pieces, taken from the front. Past the end everything is zero
//! or empty, so every input means something.

/// What is left of the bytes.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    /// All of them.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Whether nothing is left.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next byte.
    pub fn u8(&mut self) -> u8 {
        self.piece(1).first().copied().unwrap_or(0)
    }

    /// The next two bytes, big endian.
    pub fn u16(&mut self) -> u16 {
        u16::from_be_bytes([self.u8(), self.u8()])
    }

    /// At most `len` of the next bytes.
    pub fn piece(&mut self, len: usize) -> &'a [u8] {
        let (piece, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        piece
    }

    /// A piece that says its length (two bytes) itself.
    pub fn sized(&mut self) -> &'a [u8] {
        let len = usize::from(self.u16());
        self.piece(len)
    }

    /// Everything that is left.
    pub fn rest(&mut self) -> &'a [u8] {
        self.piece(self.0.len())
    }

    /// Changes genuine bytes as the next five say: flips bits of one, cuts the end, or adds to it. Whether anything
    /// changed is the answer.
    pub fn spoil(&mut self, bytes: &mut Vec<u8>) -> bool {
        let before = bytes.clone();
        let (place, bits, cut, add) = (self.u16(), self.u8(), self.u8(), self.u8());
        if !bytes.is_empty() {
            let place = usize::from(place) % bytes.len();
            bytes[place] ^= bits;
        }
        bytes.truncate(bytes.len() - usize::from(cut).min(bytes.len()));
        bytes.extend(core::iter::repeat_n(bits, usize::from(add % 8)));
        *bytes != before
    }
}
