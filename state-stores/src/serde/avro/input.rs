//! Avro's binary form, read piece by piece: no length is believed that goes beyond the bytes.

use super::misfit::Misfit;

/// What is said where the bytes end too early.
pub(super) const ENDED: &str = "the bytes end within it";

/// Bytes that are read in their order.
pub(super) struct Input<'a> {
    rest: &'a [u8],
}

impl<'a> Input<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Input { rest: bytes }
    }

    /// What was not read yet.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Has `read` read the bytes, all of them.
    pub(super) fn read_all(
        bytes: &'a [u8],
        read: impl FnOnce(&mut Self) -> Result<(), Misfit>,
    ) -> Result<(), Misfit> {
        let mut input = Input::new(bytes);
        read(&mut input)?;
        match (input.rest.len(), bytes.len()) {
            (0, _) => Ok(()),
            (more, of) => Err(Misfit::new(format!(
                "{more} of {of} bytes are left over; were they written by another schema?"
            ))),
        }
    }

    pub(super) fn take(&mut self, length: usize) -> Result<&'a [u8], Misfit> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or_else(|| Misfit::new(ENDED))?;
        self.rest = rest;
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Misfit> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or_else(|| Misfit::new(ENDED))?;
        self.rest = rest;
        Ok(*taken)
    }

    pub(super) fn boolean(&mut self) -> Result<u8, Misfit> {
        match self.array()? {
            [byte @ (0 | 1)] => Ok(byte),
            [other] => Err(Misfit::new(format!("{other:#04x} is no boolean"))),
        }
    }

    /// A number as a zig-zag varint.
    pub(super) fn long(&mut self) -> Result<i64, Misfit> {
        let mut number = 0_u64;
        for shift in (0..u64::BITS).step_by(7) {
            let [byte] = self.array()?;
            let bits = u64::from(byte & 0x7f);
            if bits << shift >> shift != bits {
                break;
            }
            number |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok((number >> 1).cast_signed() ^ -(number & 1).cast_signed());
            }
        }
        Err(Misfit::new("a number has more than 64 bits"))
    }

    pub(super) fn int(&mut self) -> Result<i32, Misfit> {
        let number = self.long()?;
        i32::try_from(number)
            .map_err(|_| Misfit::new(format!("{number} is no int: it has more than 32 bits")))
    }

    pub(super) fn prefixed(&mut self) -> Result<&'a [u8], Misfit> {
        let length = self.long()?;
        let length = usize::try_from(length).map_err(|_| Misfit::new(format!("{length} is no length")))?;
        self.take(length)
    }

    /// One of several, by its number.
    pub(super) fn choice<'c, A>(&mut self, choices: &'c [A], what: &str) -> Result<(i64, &'c A), Misfit> {
        let number = self.long()?;
        let chosen = usize::try_from(number).ok().and_then(|number| choices.get(number));
        let chosen =
            chosen.ok_or_else(|| Misfit::new(format!("{number} is none of {} {what}", choices.len())))?;
        Ok((number, chosen))
    }

    /// The items of an array or a map, which come in blocks: `begin` hears how many a block has, 0 at the end, and `item` reads each.
    pub(super) fn blocks<O>(
        &mut self,
        out: &mut O,
        begin: impl Fn(usize, &mut O),
        mut item: impl FnMut(&mut Self, &mut O) -> Result<(), Misfit>,
    ) -> Result<(), Misfit> {
        loop {
            let items = self.block()?;
            begin(items, out);
            if items == 0 {
                return Ok(());
            }
            for _ in 0..items {
                item(self, out)?;
            }
        }
    }

    fn block(&mut self) -> Result<usize, Misfit> {
        let count = self.long()?;
        if count < 0 {
            self.long()?; // The length of the block in bytes, which readers that skip it need.
        }
        // An item takes a byte at least.
        match usize::try_from(count.unsigned_abs()) {
            Ok(items) if items <= self.rest.len() => Ok(items),
            _ => Err(Misfit::new(format!(
                "it has {} items, it says, in {} bytes",
                count.unsigned_abs(),
                self.rest.len()
            ))),
        }
    }
}
