//! One description of a launch, run on every backend and in every way that must give the same result.

use super::act_i8::compare_act_i8;
use super::buffer::*;
use super::cases::{Call, Problem, has_pattern, tolerance_of};
use super::env::*;
use super::suite::catch_quietly;
use reflex_infer::*;
use std::cell::{Cell, RefCell};
use std::sync::{Arc, Mutex};

/// What a launch does: calls one op with operands made by `Io`.
pub type Launch = Box<dyn Fn(*mut reflex_context, reflex_stream) -> reflex_status>;

/// What the operands of a case hold, which is the same on every backend and every time: the first `Io` that makes them keeps it for those
/// that follow.
#[derive(Default)]
pub struct Contents(Mutex<Vec<Arc<Vec<u8>>>>);

/// Makes the operands of a case on one backend.
pub struct Io<'e> {
    pub env: &'e Env,
    buffers: RefCell<Vec<Buffer>>,
    contents: Option<&'e Contents>,
    /// Operands made that hold something before a launch.
    filled: Cell<usize>,
    /// Where the next operand lies, where none has memory.
    next: Option<Cell<usize>>,
}

impl<'e> Io<'e> {
    pub fn new(env: &'e Env) -> Io<'e> {
        Io {
            env,
            buffers: RefCell::default(),
            contents: None,
            filled: Cell::default(),
            next: None,
        }
    }

    /// One of several whose operands hold the same.
    pub fn sharing(env: &'e Env, contents: &'e Contents) -> Io<'e> {
        Io {
            contents: Some(contents),
            ..Io::new(env)
        }
    }

    /// Operands that have addresses as others and no memory: for what can be asked about a call that is not made.
    pub fn without_memory(env: &'e Env) -> Io<'e> {
        Io {
            next: Some(Cell::new(Io::FIRST)),
            ..Io::new(env)
        }
    }

    const FIRST: usize = 1 << 32;

    /// Bytes of the operands that have none.
    pub fn bytes_without_memory(&self) -> usize {
        self.next.as_ref().map_or(0, |next| next.get() - Io::FIRST)
    }

    fn add(&self, spec: Spec, role: Role, contents: impl FnOnce(&Spec) -> Vec<u8>) -> reflex_tensor {
        if let Some(next) = &self.next {
            // As far apart and as much aligned as allocations are.
            let base = next.replace(next.get() + spec.bytes().next_multiple_of(512));
            return spec.tensor(std::ptr::without_provenance_mut(base));
        }
        let filled = matches!(role, Role::Input | Role::InOut);
        let image = filled.then(|| self.image(&spec, contents));
        let buffer = Buffer::new(self.env, spec, role, image);
        let tensor = buffer.tensor();
        self.buffers.borrow_mut().push(buffer);
        tensor
    }

    fn image(&self, spec: &Spec, contents: impl FnOnce(&Spec) -> Vec<u8>) -> Arc<Vec<u8>> {
        let at = self.filled.replace(self.filled.get() + 1);
        let kept = || self.contents.map(|kept| kept.0.lock().expect("no panic"));
        if let Some(image) = kept().and_then(|kept| kept.get(at).cloned()) {
            assert_eq!(image.len(), spec.bytes(), "operand {at} is another one: {spec:?}");
            return image;
        }
        let image = Arc::new(spec.image(&contents(spec)));
        if let Some(mut kept) = kept().filter(|kept| kept.len() == at) {
            kept.push(image.clone());
        }
        image
    }

    /// A float operand.
    pub fn input(&self, spec: Spec, values: &[f32]) -> reflex_tensor {
        self.add(spec, Role::Input, |spec| spec.encode(values))
    }

    /// The same of values that are not worked out where they are known already.
    pub fn input_of(&self, spec: Spec, values: impl FnOnce() -> Vec<f32>) -> reflex_tensor {
        self.add(spec, Role::Input, |spec| spec.encode(&values()))
    }

    /// An operand of block-quantised or other raw bytes.
    pub fn input_bytes(&self, spec: Spec, bytes: &[u8]) -> reflex_tensor {
        self.add(spec, Role::Input, |_| bytes.to_vec())
    }

    /// The same of bytes that are not worked out where they are known already.
    pub fn input_bytes_of(&self, spec: Spec, bytes: impl FnOnce() -> Vec<u8>) -> reflex_tensor {
        self.add(spec, Role::Input, |_| bytes())
    }

    /// A contiguous I32 operand.
    pub fn ints(&self, values: &[i32]) -> reflex_tensor {
        let spec = Spec::new(REFLEX_DTYPE_I32, &[values.len() as i64]);
        self.add(spec, Role::Input, |_| encode_ints(values))
    }

    pub fn output(&self, spec: Spec) -> reflex_tensor {
        self.add(spec, Role::Output, |_| Vec::new())
    }

    /// Read and written: in place, caches, counters.
    pub fn in_out(&self, spec: Spec, values: &[f32]) -> reflex_tensor {
        self.in_out_of(spec, || values.to_vec())
    }

    /// The same of values that are not worked out where they are known already.
    pub fn in_out_of(&self, spec: Spec, values: impl FnOnce() -> Vec<f32>) -> reflex_tensor {
        self.add(spec, Role::InOut, |spec| spec.encode(&values()))
    }

    /// The same of raw bytes.
    pub fn in_out_bytes(&self, spec: Spec, bytes: &[u8]) -> reflex_tensor {
        self.in_out_bytes_of(spec, || bytes.to_vec())
    }

    /// The same of bytes that are not worked out where they are known already.
    pub fn in_out_bytes_of(&self, spec: Spec, bytes: impl FnOnce() -> Vec<u8>) -> reflex_tensor {
        self.add(spec, Role::InOut, |_| bytes())
    }

    pub fn in_out_ints(&self, values: &[i32]) -> reflex_tensor {
        let spec = Spec::new(REFLEX_DTYPE_I32, &[values.len() as i64]);
        self.add(spec, Role::InOut, |_| encode_ints(values))
    }

    /// Scratch of this many bytes; NULL for 0.
    pub fn workspace(&self, bytes: usize) -> *mut std::ffi::c_void {
        if bytes == 0 {
            return std::ptr::null_mut();
        }
        // 256-byte aligned, as the guard in front is 256 bytes long.
        let spec = Spec::new(REFLEX_DTYPE_I32, &[bytes.div_ceil(4) as i64]);
        self.add(spec, Role::Workspace, |_| Vec::new()).data
    }

    pub fn reset(&self) {
        self.buffers.borrow().iter().for_each(|b| b.reset(self.env));
    }

    /// Every buffer's elements in the order they were made; guards and inputs checked.
    pub fn read(&self) -> Vec<Vec<u8>> {
        let buffers = self.buffers.borrow();
        let fetched: Vec<Vec<u8>> = buffers.iter().map(|buffer| buffer.fetch(self.env)).collect();
        ok(reflex_stream_synchronize(self.env.context, self.env.stream));
        let pairs = buffers.iter().zip(&fetched);
        pairs.map(|(buffer, bytes)| buffer.elements(bytes)).collect()
    }

    fn specs(&self) -> Vec<(Spec, Role)> {
        self.buffers.borrow().iter().map(|b| (b.spec.clone(), b.role)).collect()
    }
}

/// `|a - b| <= absolute + relative * |b|`; NaN equals NaN. Integers and bytes must be equal. ACT_I8: see `compare_act_i8`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tolerance {
    pub absolute: f32,
    pub relative: f32,
}

impl Tolerance {
    pub const EXACT: Tolerance = Tolerance::new(0.0, 0.0);

    pub const fn new(absolute: f32, relative: f32) -> Tolerance {
        Tolerance { absolute, relative }
    }
}

/// Runs a case once on one backend; the elements of its outputs as f32, in the order they were made.
pub fn run_once(env: &Env, case: impl Fn(&Io) -> Launch) -> Vec<Vec<f32>> {
    run_once_sharing(env, &Contents::default(), case)
}

/// The same of a case that is run more than once.
pub fn run_once_sharing(env: &Env, contents: &Contents, case: impl Fn(&Io) -> Launch) -> Vec<Vec<f32>> {
    let io = Io::sharing(env, contents);
    let launch = case(&io);
    ok(launch(env.context, env.stream));
    let bytes = io.read();
    io.specs()
        .into_iter()
        .zip(bytes)
        .filter(|((_, role), _)| matches!(role, Role::Output | Role::InOut))
        .map(|((spec, _), bytes)| spec.decode(&bytes))
        .collect()
}

/// The same as raw bytes.
pub fn run_once_bytes(env: &Env, case: impl Fn(&Io) -> Launch) -> Vec<Vec<u8>> {
    let io = Io::new(env);
    let launch = case(&io);
    ok(launch(env.context, env.stream));
    let bytes = io.read();
    let written = |(_, role): &(Spec, Role)| matches!(role, Role::Output | Role::InOut);
    let roles = io.specs().into_iter().zip(bytes);
    roles
        .filter(|(spec, _)| written(spec))
        .map(|(_, bytes)| bytes)
        .collect()
}

/// The status and message of a launch that must be refused, with nothing written.
pub fn refused(env: &Env, case: impl Fn(&Io) -> Launch) -> (reflex_status, String) {
    let io = Io::new(env);
    let launch = case(&io);
    let before = io.read();
    let status = launch(env.context, env.stream);
    let message = last_error();
    assert!(status != REFLEX_SUCCESS, "expected an error");
    assert!(io.read() == before, "a refused launch wrote something");
    (status, message)
}

/// A launch is refused with this status and a message that begins with the op and says `words`.
pub fn expect_refused(env: &Env, op: &str, (status, words): (reflex_status, &str), case: impl Fn(&Io) -> Launch) {
    let (got, message) = refused(env, case);
    assert_eq!(status_name(got), status_name(status), "{message}");
    assert!(
        message.starts_with(&format!("{op}: ")) && message.contains(words),
        "`{message}` does not say `{words}`"
    );
}

/// The CUDA path of a case against the CPU backend, then against itself: launched again, captured and replayed twice,
/// and from two threads on two streams, each time bit for bit.
pub fn parity(cpu: &Env, cuda: &Env, tolerance: Tolerance, case: &(dyn Fn(&Io) -> Launch + Sync)) {
    let call = |io: &Io| Call {
        launch: case(io),
        kernel: Box::new(|_| String::new()),
    };
    compare_backends(cpu, cuda, &|_| tolerance, &Contents::default(), &call);
}

/// The same of a problem, within the bound of the kernel that the device selects.
pub fn problem_parity(cpu: &Env, cuda: &Env, problem: &dyn Problem) {
    let tolerance = |kernel: &str| {
        // Where a candidate is asked for, nothing is chosen.
        if let Some((wanted, since)) = problem.expects_kernel().filter(|_| !cuda.forced) {
            let right = has_pattern(kernel, wanted) || cuda.device_info().sm < since;
            assert!(right, "the kernel is {kernel}, expected {wanted}");
        }
        tolerance_of(&problem.bounded_by(kernel), problem.size(kernel))
    };
    let contents = Contents::default();
    if let Some(words) = problem.declined_by_cuda().filter(|_| !cuda.forced) {
        return expect_declined(cuda, words, &problem.call(&Io::new(cuda)));
    }
    // The device comes first: a candidate that does not take the problem says so before the CPU backend works out what nobody looks at.
    if problem.compared_with_cpu() {
        compare_backends(cpu, cuda, &tolerance, &contents, &|io| problem.call(io));
        problem.check(cuda, &contents);
    } else {
        problem.check(cuda, &contents);
        problem.check(cpu, &contents);
    }
}

/// No kernel takes the problem, and the library says so.
fn expect_declined(cuda: &Env, words: &str, call: &Call) {
    let asked = catch_quietly(|| (call.kernel)(cuda)).expect_err("a kernel takes it");
    assert!(
        asked.starts_with("REFLEX_UNSUPPORTED") && asked.contains(words),
        "{asked}"
    );
    let status = (call.launch)(cuda.context, cuda.stream);
    let said = last_error();
    assert_eq!(status_name(status), "REFLEX_UNSUPPORTED", "{said}");
    assert!(said.contains(words), "{said}");
}

/// A problem on one backend: launched twice and recorded once, bit for bit, with guards around what it writes.
pub fn problem_repeats(env: &Env, problem: &dyn Problem) {
    let contents = Contents::default();
    let io = Io::sharing(env, &contents);
    let call = problem.call(&io);
    let launch = call.launch;
    ok(launch(env.context, env.stream));
    let first = io.read();
    tolerance_of(&problem.bounded_by(&(call.kernel)(env)), problem.size("cpu"));
    let graph = env.captured(|| launch(env.context, env.stream));
    io.reset();
    ok(reflex_graph_launch(env.context, graph, env.stream));
    assert!(io.read() == first, "a replayed graph gave other bits");
    reflex_graph_destroy(graph);
    problem.check(env, &contents);
}

fn compare_backends(
    cpu: &Env,
    cuda: &Env,
    tolerance: &dyn Fn(&str) -> Tolerance,
    contents: &Contents,
    case: &(dyn Fn(&Io) -> Call + Sync),
) {
    let io = Io::sharing(cuda, contents);
    let call = case(&io);
    let tolerance = tolerance(&(call.kernel)(cuda));
    let launch = call.launch;
    ok(launch(cuda.context, cuda.stream));
    // While the device is at it.
    let reference = {
        let io = Io::sharing(cpu, contents);
        ok((case(&io).launch)(cpu.context, cpu.stream));
        io.read()
    };
    let first = io.read();
    for (i, (spec, role)) in io.specs().into_iter().enumerate() {
        if matches!(role, Role::Output | Role::InOut) {
            compare(&spec, &first[i], &reference[i], tolerance, i);
        }
    }

    io.reset();
    ok(launch(cuda.context, cuda.stream));
    assert!(io.read() == first, "a second launch gave other bits");

    let graph = cuda.captured(|| launch(cuda.context, cuda.stream));
    for _ in 0..2 {
        io.reset();
        ok(reflex_graph_launch(cuda.context, graph, cuda.stream));
        assert!(io.read() == first, "a replayed graph gave other bits");
    }
    reflex_graph_destroy(graph);

    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let env = cuda.beside();
                let io = Io::sharing(&env, contents);
                let launch = case(&io).launch;
                for _ in 0..4 {
                    io.reset();
                    ok(launch(env.context, env.stream));
                    assert!(io.read() == first, "two threads gave other bits");
                }
            });
        }
    });
}

fn compare(spec: &Spec, got: &[u8], want: &[u8], tolerance: Tolerance, index: usize) {
    if spec.dtype == REFLEX_DTYPE_I32 {
        let (got, want) = (decode(spec.dtype, got), decode(spec.dtype, want));
        assert!(got == want, "operand {index} {spec:?}: {got:?}, expected {want:?}");
        return;
    }
    if spec.dtype == REFLEX_DTYPE_ACT_I8 {
        let result = compare_act_i8(got, want, spec.row(), tolerance);
        return result.unwrap_or_else(|what| panic!("operand {index} {spec:?}: {what} ({tolerance:?})"));
    }
    if reflex_dtype_block_elements(spec.dtype) > 1 {
        let differs = got.iter().zip(want).position(|(a, b)| a != b);
        assert!(differs.is_none(), "operand {index} {spec:?}: byte {differs:?} differs");
        return;
    }
    let (got, want) = (decode(spec.dtype, got), decode(spec.dtype, want));
    let mut worst = (0.0f32, 0);
    for (i, (&a, &b)) in got.iter().zip(&want).enumerate() {
        if (a.is_nan() && b.is_nan()) || a == b {
            continue;
        }
        let excess = (a - b).abs() / (tolerance.absolute + tolerance.relative * b.abs());
        if excess.is_nan() || excess > worst.0 {
            worst = (if excess.is_nan() { f32::INFINITY } else { excess }, i);
        }
    }
    assert!(
        worst.0 <= 1.0,
        "operand {index} {spec:?}: element {} is {}, expected {} ({} times {tolerance:?})",
        worst.1,
        got[worst.1],
        want[worst.1],
        worst.0
    );
}

#[cfg(test)]
mod tests {
    use super::super::cases::{cases, problem};
    use super::*;

    /// The second `Io` has what the first one made; one without memory has addresses that are aligned alike, and as many bytes.
    #[test]
    fn operands_are_made_once() {
        let env = shared_cpu();
        let (contents, made) = (Contents::default(), Cell::new(0));
        let spec = Spec::new(REFLEX_DTYPE_F32, &[3, 5]).row_gap(1).offset(1);
        let make = |io: &Io| {
            let values = || {
                made.set(made.get() + 1);
                vec![made.get() as f32; 15]
            };
            let x = io.input_of(spec.clone(), values);
            io.output(spec.clone());
            [x, io.in_out_of(spec.clone(), values)]
        };
        let ios = [0, 1].map(|_| Io::sharing(env, &contents));
        for io in &ios {
            make(io);
        }
        assert_eq!(made.get(), 2);
        let [first, second] = ios.map(|io| io.read());
        assert_eq!(first, second);
        assert_eq!(decode(REFLEX_DTYPE_F32, &first[2]), [2.0; 15]);
        let io = Io::without_memory(env);
        let [x, y] = make(&io).map(|tensor| tensor.data.addr());
        assert_eq!(made.get(), 2, "nobody looks at them");
        assert_eq!(x % 256, 4);
        assert!(y >= x + spec.bytes() && io.bytes_without_memory() >= 3 * spec.bytes());
    }

    /// A launch of other operands than the first would be compared with the wrong ones.
    #[test]
    #[should_panic(expected = "operand 0 is another one")]
    fn shared_operands_are_the_same_ones() {
        let contents = Contents::default();
        for n in [3, 4] {
            Io::sharing(shared_cpu(), &contents).ints(&vec![0; n]);
        }
    }

    /// A question about a call has the same answer where its operands have no memory.
    #[test]
    fn questions_need_no_memory() {
        let env = shared_cpu();
        for op in super::super::cases::case_ops() {
            for case in &cases(op).cases {
                let kernel = (problem(case).call(&Io::without_memory(env)).kernel)(env);
                assert!(["cpu", "none"].contains(&kernel.as_str()), "{case}: {kernel}");
            }
        }
    }
}
