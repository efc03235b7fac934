use crate::support::*;
use reflex_infer::*;

pub fn tests(suite: &mut Suite) {
    // Bits move; none changes.
    let mut add = |name: String, case: PackCase| {
        suite.parity(name, Tolerance::EXACT, move |io| {
            let bytes = matrix_bytes(case.dtype, case.n, case.k);
            case.launch(io, &Random::new(case.n as u64).bytes(bytes))
        });
    };
    for dtype in BLOCKS {
        let block = i64::from(reflex_dtype_block_elements(dtype));
        for direction in [Direction::Pack, Direction::Unpack] {
            let name = |what: &str| {
                format!(
                    "weights_pack::{}_{what}_{}",
                    dtype_name(dtype),
                    format!("{direction:?}").to_lowercase()
                )
            };
            let base = PackCase::new(dtype, 48, 768, direction);
            add(name("panels"), base);
            // A matrix wide enough for several thread blocks, with rows left over.
            let case = PackCase {
                n: 33,
                k: 2048 + block,
                ..base
            };
            add(name("odd"), case);
            // Native rows at every alignment that blocks can have.
            let case = PackCase {
                gap: 1,
                offset: 1,
                ..case
            };
            add(name("strided"), case);
            let case = PackCase { n: 5, k: block, ..base };
            add(name("left_over"), case);
            let case = PackCase {
                k: 768 + block,
                n: 50,
                in_place: true,
                ..base
            };
            add(name("in_place"), case);
        }
    }
    for direction in [Direction::Pack, Direction::Unpack] {
        // More than the workspace takes at a time: 18.9 MB, whose last panels are a short turn.
        let case = PackCase {
            in_place: true,
            ..PackCase::new(REFLEX_DTYPE_Q4_K, 8200, 4096, direction)
        };
        add(
            format!("weights_pack::large_in_place_{direction:?}").to_lowercase(),
            case,
        );
        for (n, k) in [(0, 256), (16, 0), (16, 32), (3, 256)] {
            let dtype = if k == 32 { REFLEX_DTYPE_Q8_0 } else { REFLEX_DTYPE_Q6_K };
            for in_place in [false, true] {
                let case = PackCase {
                    in_place,
                    ..PackCase::new(dtype, n, k, direction)
                };
                let place = if in_place { "in_place" } else { "apart" };
                add(
                    format!("weights_pack::no_tiles_{n}_{k}_{place}_{direction:?}").to_lowercase(),
                    case,
                );
            }
        }
    }

    suite.test("weights_pack::workspace_and_kernel", |env| {
        let io = Io::new(env);
        let (n, k) = (64, 512);
        let matrix = vec![0; matrix_bytes(REFLEX_DTYPE_Q5_K, n, k)];
        let source = io.input_bytes(Spec::new(REFLEX_DTYPE_Q5_K, &[n, k]), &matrix);
        let mut p = reflex_weights_pack_params {
            struct_size: size_of::<reflex_weights_pack_params>() as u32,
            source,
            destination: io.output(Spec::new(packed(REFLEX_DTYPE_Q5_K), &[n, k])),
            ..Default::default()
        };
        let need = |p: &reflex_weights_pack_params| {
            let mut bytes = 0;
            ok(reflex_weights_pack_workspace_size(env.context, p, &mut bytes));
            bytes
        };
        let name = |p: &_| selected(env, reflex_weights_pack_selected_kernel, p);
        assert_eq!(need(&p), 0);
        assert_eq!(name(&p), "reflex_weights_pack_q5_k");
        p.destination.data = source.data;
        assert_eq!(need(&p), matrix.len());
        // Without the scratch nothing is written: the input is checked by `read`.
        let status = reflex_weights_pack(env.context, &p, env.stream);
        assert!(status == REFLEX_WORKSPACE_TOO_SMALL, "{}", last_error());
        io.read();
        // A matrix of gigabytes takes 16 MiB at a time, one panel of absurd rows all the same.
        (p.source.shape[0], p.destination.shape[0]) = (1 << 20, 1 << 20);
        assert!((15 << 20..=16 << 20).contains(&need(&p)), "{}", need(&p));
        (p.source.shape[1], p.destination.shape[1]) = (1 << 24, 1 << 24);
        assert_eq!(need(&p), matrix_bytes(REFLEX_DTYPE_Q5_K, 16, 1 << 24));
    });
}
