//! A walk over bytes by their schema, before the library reads them: it makes room for what a length claims, and believes it up to half a gigabyte.

use super::input::Input;
use super::misfit::Misfit;
use super::shape::Shape;

impl Shape {
    /// Whether the bytes are one value of this schema, and nothing else. What texts say is not looked at.
    pub(super) fn check(&self, bytes: &[u8]) -> Result<(), Misfit> {
        Input::read_all(bytes, |input| self.walk(input))
    }

    fn walk(&self, input: &mut Input<'_>) -> Result<(), Misfit> {
        match self {
            Shape::Null => Ok(()),
            Shape::Boolean => input.boolean().map(drop),
            Shape::Int => input.int().map(drop),
            Shape::Long => input.long().map(drop),
            Shape::Float => input.take(size_of::<f32>()).map(drop),
            Shape::Double => input.take(size_of::<f64>()).map(drop),
            Shape::Fixed { size, .. } => input.take(*size).map(drop),
            Shape::Bytes | Shape::String => input.prefixed().map(drop),
            Shape::Decimal { carrier, .. } | Shape::Logical { carrier, .. } => carrier.walk(input),
            Shape::Enum { symbols, .. } => input.choice(symbols, "symbols").map(drop),
            Shape::Union(branches) => input.choice(branches, "branches")?.1.walk(input),
            Shape::Record { fields, .. } => fields
                .iter()
                .try_for_each(|field| field.shape.walk(input).map_err(|misfit| misfit.in_field(&field.name))),
            Shape::Array(items) => input.blocks(
                &mut 0,
                |_, _| {},
                |input, place| {
                    items.walk(input).map_err(|misfit| misfit.in_item(*place))?;
                    *place += 1;
                    Ok(())
                },
            ),
            Shape::Map(values) => input.blocks(
                &mut (),
                |_, ()| {},
                |input, ()| {
                    let key = input.prefixed()?;
                    values.walk(input).map_err(|misfit| misfit.in_item(String::from_utf8_lossy(key)))
                },
            ),
        }
    }
}
