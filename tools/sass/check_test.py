#!/usr/bin/env python3
"""Tests check.py on listings in nvdisasm's form, with a program that prints them in the place of nvdisasm."""
import io
import pathlib
import stat
import tempfile
import unittest
import zlib

import check

LISTING = """
\t.headerflags\t@"EF_CUDA_SM90"
.text.reflex_one:
        /*0000*/                   LDC R1, c[0x0][0x28] ;
        /*0010*/               @P0 CALL.REL.NOINC `($reflex_one$__internal_0_$__cuda_sm20_div_s64) ;
        /*0020*/              @!P1 CALL.REL.NOINC `(.L_x_7) ;
.L_x_7:
        /*0030*/                   CALL.REL.NOINC `($reflex_one$_ZN6reflex4tailEv) ;
        /*0040*/               @P2 DFMA R4, R6, R8, R10 ;
        /*0050*/                   MUFU.RCP64H R5, R7 ;
        /*0060*/                   MUFU.RCP R5, R7 ;
.text.reflex_two:
        /*0000*/                   STL.64 [R1], R4 ;
        /*0010*/                   LDG.E R2, desc[UR4][R2.64] ;
        /*0020*/                   ATOMS.CAST.SPIN R3, [R2], R4, R5 ;
        /*0030*/                   ATOM.E.CAS.64 P0, R2, desc[UR4][R2], R4, R5 ;
        /*0040*/                   I2F.F64 R4, R2 ;
"""
FOUND = {
    ("reflex_one", "sm20_div_s64"): 1,
    ("reflex_one", "label"): 1,
    ("reflex_one", "function"): 1,
    ("reflex_one", "double"): 2,
    ("reflex_two", "local"): 1,
    ("reflex_two", "swap"): 2,
    ("reflex_two", "double"): 1,
}


class Check(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def build(self, listing=LISTING, status=0, code=b"code"):
        deflate = zlib.compressobj(wbits=-15)
        (self.folder / "image-0").write_bytes(deflate.compress(code) + deflate.flush())
        lines = [
            'KernelImage { file: "ops", sm: 90, suffix: "a", ptx: false, size: 4, deflated: include_bytes!(concat!(env!("OUT_DIR"), "/image-0")) },',
            'KernelImage { file: "ops", sm: 80, suffix: "", ptx: true, size: 9, deflated: include_bytes!(concat!(env!("OUT_DIR"), "/image-1")) },',
        ]
        (self.folder / "kernel_images.rs").write_text("\n".join(lines))
        (self.folder / "listing").write_text(listing)
        program = self.folder / "nvdisasm"
        program.write_text(f"#!/bin/sh\ncat {self.folder}/listing\nexit {status}\n")
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        return program

    def run_check(self, allowed, **build):
        path = self.folder / "allowed.txt"
        path.write_text(allowed)
        out = io.StringIO()
        problems, images = check.check(self.folder, self.build(**build), path, out)
        self.assertEqual(images, 1)
        return problems, out.getvalue()

    def test_everything_is_found_once(self):
        found, count = check.findings(LISTING)
        self.assertEqual(found, FOUND)
        self.assertEqual(count, 12)

    def test_what_nobody_listed_is_refused(self):
        problems, text = self.run_check("")
        self.assertEqual(problems, len(FOUND))
        self.assertIn("reflex_one (ops.cu) sm_90a: sm20_div_s64, 1 times\n", text)

    def test_listed_with_a_reason(self):
        problems, text = self.run_check("reflex_* * * # all of it\n")
        self.assertEqual((problems, text), (0, ""))
        problems, text = self.run_check("reflex_one * sm_90a # a\nreflex_two l*l * # b\n")
        self.assertEqual(problems, 2)
        self.assertIn("reflex_two (ops.cu) sm_90a: double", text)
        self.assertIn("reflex_two (ops.cu) sm_90a: swap", text)

    def test_a_line_without_use(self):
        problems, text = self.run_check("* * * # all\nreflex_three local sm_90a # gone\nreflex_three local sm_87 # not built\n")
        self.assertEqual((problems, text), (1, "allowed.txt:2: reflex_three local sm_90a is in no image\n"))

    def test_a_line_without_a_reason(self):
        for line in ("reflex_one local *", "reflex_one local * #", "reflex_one local # two fields"):
            with self.assertRaises(ValueError):
                self.run_check(line)

    def test_words_that_are_no_instruction(self):
        problems, text = self.run_check("* * * # all\n", status=255)
        self.assertEqual(problems, 1)
        self.assertIn("words in it that are none", text)

    def test_an_image_of_another_size(self):
        with self.assertRaises(ValueError):
            self.run_check("", code=b"more code")


if __name__ == "__main__":
    unittest.main()
