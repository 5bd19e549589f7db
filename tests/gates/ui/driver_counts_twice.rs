// A connection that is removed twice would make room for one beyond the limits.

use io_common::server::{AdmissionControl, Entry};

fn close(admission: &mut AdmissionControl, entry: Entry) {
    admission.remove(entry);
    admission.remove(entry);
}

fn main() {}
