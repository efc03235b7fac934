use crate::support::*;
use reflex_infer::*;

const F32: reflex_dtype = REFLEX_DTYPE_F32;
const F16: reflex_dtype = REFLEX_DTYPE_F16;
const BF16: reflex_dtype = REFLEX_DTYPE_BF16;
const I32: reflex_dtype = REFLEX_DTYPE_I32;

fn case(io: &Io, spec: Spec, values: &[f32], counters: &[i32], workspace: bool) -> Launch {
    let rows = spec.shape[0];
    let mut p = reflex_argmax_params {
        struct_size: size_of::<reflex_argmax_params>() as u32,
        x: io.input(spec, values),
        ids: io.output(Spec::new(I32, &[rows])),
        ..Default::default()
    };
    if !counters.is_empty() {
        p.counters = io.in_out_ints(counters);
    }
    if workspace {
        let mut bytes = 0;
        ok(reflex_argmax_workspace_size(io.env.context, &p, &mut bytes));
        p.workspace = io.workspace(bytes);
        p.workspace_size = bytes;
    }
    Box::new(move |context, stream| reflex_argmax(context, &p, stream))
}

pub fn tests(suite: &mut Suite) {
    let mut add = |name: String, spec: Spec, values: Vec<f32>, counters: Vec<i32>| {
        for (workspace, suffix) in [(false, ""), (true, "_with_workspace")] {
            let (spec, values, counters) = (spec.clone(), values.clone(), counters.clone());
            suite.parity(format!("argmax::{name}{suffix}"), Tolerance::EXACT, move |io| {
                case(io, spec.clone(), &values, &counters, workspace)
            });
        }
    };
    for n in [1, 2, 7, 8, 31, 32, 33, 1000, 1024, 8192, 8193, 32000, 151_936, 262_144] {
        for dtype in [F32, F16, BF16] {
            // In f16 and bf16 a large row has many equal greatest values.
            let spec = Spec::new(dtype, &[3, n]);
            let values = Random::new(n as u64).normals(3 * n as usize);
            add(format!("n_{n}_{}", dtype.0), spec, values, vec![1, 2, 3]);
        }
    }
    for rows in [0, 1, 2, 300] {
        let spec = Spec::new(F32, &[rows, 40]);
        let values = Random::new(1).normals(40 * rows as usize);
        add(format!("rows_{rows}"), spec, values, (0..700).collect());
    }
    for (gap, offset) in [(1, 0), (8, 0), (0, 1), (3, 2), (4, 4)] {
        for n in [1000, 40_000] {
            let spec = Spec::new(F32, &[4, n]).row_gap(gap).offset(offset);
            let values = Random::new(2).normals(4 * n as usize);
            add(format!("n_{n}_gap_{gap}_offset_{offset}"), spec, values, vec![]);
        }
    }
    for rows in [1, 2, 16, 130, 300] {
        let spec = Spec::new(BF16, &[rows, 33_001]);
        let values = Random::new(3).normals(33_001 * rows as usize);
        add(format!("long_rows_{rows}"), spec, values, (0..700).collect());
    }

    let (nan, inf) = (f32::NAN, f32::INFINITY);
    for n in [5usize, 2048, 5000, 65_536] {
        let mut rows = [
            vec![nan; n],
            vec![-inf; n],
            vec![inf; n],
            vec![1.0; n],
            vec![-0.0; n],
            vec![nan; n],
            vec![-inf; n],
            vec![-3.0; n],
        ];
        rows[4][n - 1] = 0.0; // equal to -0: not greater
        rows[5][n / 2] = -inf; // greater than NaN
        rows[6][n - 2] = f32::MIN;
        rows[7][1] = nan;
        rows[7][3] = -2.0;
        rows[7][4] = -2.0;
        let spec = Spec::new(F32, &[8, n as i64]);
        add(format!("special_values_{n}"), spec, rows.concat(), vec![i32::MAX, -1]);
    }
}
