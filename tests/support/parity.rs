//! One description of a launch, run on every backend and in every way that must give the same result.

use super::act_i8::compare_act_i8;
use super::buffer::*;
use super::cases::{Call, Problem, has_pattern, tolerance_of};
use super::env::*;
use reflex_infer::*;
use std::cell::RefCell;
use std::rc::Rc;

/// What a launch does: calls one op with operands made by `Io`.
pub type Launch = Box<dyn Fn(*mut reflex_context, reflex_stream) -> reflex_status>;

/// Makes the operands of a case on one backend.
pub struct Io<'e> {
    pub env: &'e Env,
    buffers: RefCell<Vec<Rc<Buffer>>>,
}

impl<'e> Io<'e> {
    pub fn new(env: &'e Env) -> Io<'e> {
        Io {
            env,
            buffers: RefCell::default(),
        }
    }

    fn add(&self, spec: Spec, role: Role, contents: &[u8]) -> reflex_tensor {
        let buffer = Rc::new(Buffer::new(self.env, spec, role, contents));
        let tensor = buffer.tensor();
        self.buffers.borrow_mut().push(buffer);
        tensor
    }

    /// A float operand.
    pub fn input(&self, spec: Spec, values: &[f32]) -> reflex_tensor {
        let bytes = spec.encode(values);
        self.add(spec, Role::Input, &bytes)
    }

    /// An operand of block-quantised or other raw bytes.
    pub fn input_bytes(&self, spec: Spec, bytes: &[u8]) -> reflex_tensor {
        self.add(spec, Role::Input, bytes)
    }

    /// A contiguous I32 operand.
    pub fn ints(&self, values: &[i32]) -> reflex_tensor {
        let spec = Spec::new(REFLEX_DTYPE_I32, &[values.len() as i64]);
        self.add(spec, Role::Input, &encode_ints(values))
    }

    pub fn output(&self, spec: Spec) -> reflex_tensor {
        self.add(spec, Role::Output, &[])
    }

    /// Read and written: in place, caches, counters.
    pub fn in_out(&self, spec: Spec, values: &[f32]) -> reflex_tensor {
        let bytes = spec.encode(values);
        self.add(spec, Role::InOut, &bytes)
    }

    /// The same of raw bytes.
    pub fn in_out_bytes(&self, spec: Spec, bytes: &[u8]) -> reflex_tensor {
        self.add(spec, Role::InOut, bytes)
    }

    pub fn in_out_ints(&self, values: &[i32]) -> reflex_tensor {
        let spec = Spec::new(REFLEX_DTYPE_I32, &[values.len() as i64]);
        self.add(spec, Role::InOut, &encode_ints(values))
    }

    /// Scratch of this many bytes; NULL for 0.
    pub fn workspace(&self, bytes: usize) -> *mut std::ffi::c_void {
        if bytes == 0 {
            return std::ptr::null_mut();
        }
        // 256-byte aligned, as the guard in front is 256 bytes long.
        let spec = Spec::new(REFLEX_DTYPE_I32, &[bytes.div_ceil(4) as i64]);
        self.add(spec, Role::Workspace, &[]).data
    }

    pub fn reset(&self) {
        self.buffers.borrow().iter().for_each(|b| b.reset(self.env));
    }

    /// Every buffer's elements in the order they were made; guards and inputs checked.
    pub fn read(&self) -> Vec<Vec<u8>> {
        ok(reflex_stream_synchronize(self.env.context, self.env.stream));
        self.buffers.borrow().iter().map(|b| b.read(self.env)).collect()
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
    let io = Io::new(env);
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
    compare_backends(cpu, cuda, &|_| tolerance, &call);
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
    if problem.compared_with_cpu() {
        compare_backends(cpu, cuda, &tolerance, &|io| problem.call(io));
    } else {
        problem.check(cpu);
    }
    problem.check(cuda);
}

/// A problem on one backend: launched twice and recorded once, bit for bit, with guards around what it writes.
pub fn problem_repeats(env: &Env, problem: &dyn Problem) {
    let io = Io::new(env);
    let call = problem.call(&io);
    let launch = call.launch;
    ok(launch(env.context, env.stream));
    let first = io.read();
    tolerance_of(&problem.bounded_by(&(call.kernel)(env)), problem.size("cpu"));
    io.reset();
    let graph = env.captured(|| launch(env.context, env.stream));
    io.reset();
    ok(reflex_graph_launch(env.context, graph, env.stream));
    assert!(io.read() == first, "a replayed graph gave other bits");
    reflex_graph_destroy(graph);
    problem.check(env);
}

fn compare_backends(cpu: &Env, cuda: &Env, tolerance: &dyn Fn(&str) -> Tolerance, case: &(dyn Fn(&Io) -> Call + Sync)) {
    let reference = {
        let io = Io::new(cpu);
        ok((case(&io).launch)(cpu.context, cpu.stream));
        io.read()
    };
    let io = Io::new(cuda);
    let call = case(&io);
    let launch = call.launch;
    ok(launch(cuda.context, cuda.stream));
    let first = io.read();
    let tolerance = tolerance(&(call.kernel)(cuda));
    for (i, (spec, role)) in io.specs().into_iter().enumerate() {
        if matches!(role, Role::Output | Role::InOut) {
            compare(&spec, &first[i], &reference[i], tolerance, i);
        }
    }

    io.reset();
    ok(launch(cuda.context, cuda.stream));
    assert!(io.read() == first, "a second launch gave other bits");

    io.reset();
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
                let env = std::mem::ManuallyDrop::new(Env {
                    context: cuda.context,
                    stream: cuda.new_stream(),
                    cuda: cuda.cuda,
                    forced: cuda.forced,
                });
                let io = Io::new(&env);
                let launch = case(&io).launch;
                for _ in 0..4 {
                    io.reset();
                    ok(launch(env.context, env.stream));
                    assert!(io.read() == first, "two threads gave other bits");
                }
                drop(io);
                ok(reflex_stream_destroy(env.context, env.stream));
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
