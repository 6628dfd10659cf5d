//! A fetched message. Key and value are borrowed from the client's fetch buffer until it is dropped.

use std::ffi::{CStr, c_void};
use std::ptr::{self, NonNull};
use std::slice;

use bytes::Bytes;
use millstream_state_stores::{Offset, Timestamp};
use rdkafka::bindings as rdsys;

use crate::api::{Header, Headers};
use crate::task::InputMessage;
use crate::topology::RawRecord;

/// Owns one `rd_kafka_message_t`. Must be dropped before the consumer it came from is closed.
#[derive(Debug)]
pub(crate) struct KafkaMessage(NonNull<rdsys::rd_kafka_message_t>);

impl KafkaMessage {
    /// # Safety
    /// `message` must come from a consume call and not be destroyed elsewhere.
    pub(super) unsafe fn from_raw(message: *mut rdsys::rd_kafka_message_t) -> Option<Self> {
        NonNull::new(message).map(KafkaMessage)
    }

    fn fields(&self) -> &rdsys::rd_kafka_message_t {
        // SAFETY: the message is owned by `self` and destroyed only in `drop`.
        unsafe { self.0.as_ref() }
    }

    pub(super) fn error_code(&self) -> rdsys::rd_kafka_resp_err_t {
        self.fields().err
    }

    pub(super) fn topic_handle(&self) -> *mut rdsys::rd_kafka_topic_t {
        self.fields().rkt
    }

    pub(super) fn partition(&self) -> i32 {
        self.fields().partition
    }

    /// Bytes of key and value together.
    pub(super) fn size(&self) -> usize {
        self.fields().len + self.fields().key_len
    }

    pub(super) fn topic_name(&self) -> String {
        // SAFETY: a message's topic handle lives as long as the message; its name is a C string.
        let name = unsafe { CStr::from_ptr(rdsys::rd_kafka_topic_name(self.fields().rkt)) };
        name.to_string_lossy().into_owned()
    }

    fn bytes(&self, start: *mut c_void, length: usize) -> Option<&[u8]> {
        // SAFETY: librdkafka gives a null pointer for null, else `length` bytes that live as long as the message.
        (!start.is_null()).then(|| unsafe { slice::from_raw_parts(start.cast::<u8>(), length) })
    }
}

impl InputMessage for KafkaMessage {
    #[inline]
    fn offset(&self) -> Offset {
        Offset::new(self.fields().offset)
    }

    #[inline]
    fn raw(&self) -> RawRecord<'_> {
        let fields = self.fields();
        // SAFETY: the message is valid; a null out-pointer for the timestamp type is allowed.
        let timestamp = unsafe { rdsys::rd_kafka_message_timestamp(self.0.as_ptr(), ptr::null_mut()) };
        RawRecord {
            offset: self.offset(),
            timestamp: Timestamp::from_millis(timestamp),
            key: self.bytes(fields.key, fields.key_len),
            value: self.bytes(fields.payload, fields.len),
        }
    }

    #[inline]
    fn headers(&self) -> Headers {
        let mut native = ptr::null_mut();
        // SAFETY: the message is valid; on success `native` points to headers owned by the message.
        let code = unsafe { rdsys::rd_kafka_message_headers(self.0.as_ptr(), &raw mut native) };
        if code != rdsys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR || native.is_null() {
            return Headers::default();
        }
        (0..).map_while(|index| self.header(native, index)).collect()
    }
}

impl KafkaMessage {
    fn header(&self, native: *mut rdsys::rd_kafka_headers_t, index: usize) -> Option<Header> {
        let (mut name, mut value, mut size) = (ptr::null(), ptr::null(), 0);
        // SAFETY: `native` belongs to this message; the out-pointers are valid.
        let code = unsafe {
            rdsys::rd_kafka_header_get_all(native, index, &raw mut name, &raw mut value, &raw mut size)
        };
        if code != rdsys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
            return None;
        }
        // SAFETY: on success the name is a C string owned by the headers.
        let name = unsafe { CStr::from_ptr(name) }.to_string_lossy().into_owned();
        let value = self.bytes(value.cast_mut(), size).map(Bytes::copy_from_slice);
        Some(Header { name, value })
    }
}

impl Drop for KafkaMessage {
    fn drop(&mut self) {
        // SAFETY: the message is owned and destroyed once.
        unsafe { rdsys::rd_kafka_message_destroy(self.0.as_ptr()) }
    }
}
