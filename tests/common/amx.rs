//! AMX for machines without it: a handler of SIGILL that does what the six instructions do.
//!
//! The kernels run as they are, instruction by instruction, so their encodings, operands and order are tested; their speed, and whether a machine
//! has AMX and lets a process use it, are not.
//! Written after the pages of LDTILECFG, TILERELEASE, TILEZERO, TILELOADD, TILESTORED and TDPBF16PS in Intel's manual (325383, volume 2).
#![allow(unsafe_code)]

use super::ensure;
use bnn::backend::cpu::Isa;
use std::cell::UnsafeCell;
use std::sync::Once;

/// The machine's own AMX, or AVX-512 with this emulation in this process; nothing where there is no AVX512_BF16 to pack with.
pub fn isa() -> Option<Isa> {
    if let Ok(real) = Isa::named("amx") {
        return Some(real);
    }
    ensure::has("amx");
    if !ensure::has("avx512_bf16") {
        return None;
    }
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: `serve` has the signature that SA_SIGINFO asks for, and what it does is allowed in a handler: it reads and writes memory
        // that the instruction names, and this thread's tiles.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = serve as *const () as usize;
            action.sa_flags = libc::SA_SIGINFO;
            assert_eq!(
                libc::sigaction(libc::SIGILL, &action, std::ptr::null_mut()),
                0
            );
        }
    });
    // SAFETY: AVX512_BF16 was found, and the handler serves AMX.
    Some(unsafe { Isa::assume_amx() })
}

/// Eight tiles of 16 rows of 64 bytes, and whether they are configured.
struct State {
    tiles: [[[u32; 16]; 16]; 8],
    configured: bool,
}

thread_local! {
    static STATE: UnsafeCell<State> = const { UnsafeCell::new(State { tiles: [[[0; 16]; 16]; 8], configured: false }) };
}

/// Does the instruction and goes on behind it; an instruction that is none of the six ends the process, as without a handler.
extern "C" fn serve(_: libc::c_int, _: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the kernel gives a ucontext_t; the instruction was fetched from where RIP points; no other handler of this thread runs.
    unsafe {
        let registers = &mut (*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs;
        let code = registers[libc::REG_RIP as usize] as *const u8;
        let length = STATE.with(|state| instruction(&mut *state.get(), code, registers));
        match length {
            Some(n) => registers[libc::REG_RIP as usize] += n as i64,
            None => {
                libc::signal(libc::SIGILL, libc::SIG_DFL);
            }
        }
    }
}

/// Does one instruction; its length.
///
/// # Safety
/// `code` is an instruction, and the addresses that it makes of `registers` are the program's.
unsafe fn instruction(state: &mut State, code: *const u8, registers: &[i64; 23]) -> Option<usize> {
    // SAFETY: the caller's promise; no instruction has fewer bytes than are read.
    unsafe {
        // VEX in three bytes: C4, inverted R X B and the opcode map, W and inverted vvvv and L and the prefix; then opcode and ModRM.
        let byte = |i: usize| *code.add(i);
        if byte(0) != 0xc4 || byte(1) & 0x1f != 2 || byte(2) & 0x84 != 0 {
            return None;
        }
        let (prefix, opcode, modrm) = (byte(2) & 3, byte(3), byte(4));
        let (mode, reg, rm) = (modrm >> 6, modrm >> 3 & 7, modrm & 7);
        let vvvv = !(byte(2) >> 3) & 15;
        let is_register = mode == 3;
        // A memory operand's address, the stride that TILELOADD takes from the index register, and the instruction's length.
        let memory = || {
            let (x, b) = (!byte(1) >> 6 & 1, !byte(1) >> 5 & 1);
            let (mut at, mut index) = (5, 0);
            let base = match rm {
                4 => {
                    let sib = byte(5);
                    at = 6;
                    if (sib >> 3 & 7) | x << 3 != 4 {
                        index = register(registers, sib >> 3 & 7 | x << 3) << (sib >> 6);
                    }
                    assert!(mode != 0 || sib & 7 != 5, "an address without a base");
                    register(registers, sib & 7 | b << 3)
                }
                5 if mode == 0 => {
                    let displacement = code.add(5).cast::<i32>().read_unaligned() as i64;
                    return (code as i64 + 9 + displacement, 0, 9);
                }
                _ => register(registers, rm | b << 3),
            };
            let (displacement, more) = match mode {
                0 => (0, 0),
                1 => (byte(at) as i8 as i64, 1),
                _ => (code.add(at).cast::<i32>().read_unaligned() as i64, 4),
            };
            (base + displacement, index, at + more)
        };
        const NONE: u8 = 0;
        const F3: u8 = 2;
        const F2: u8 = 3;
        if (opcode, prefix, is_register) != (0x49, NONE, false) && !state.configured {
            return None;
        }
        // What the processor would refuse: a fourth operand, an address without an index, a tile that is two operands.
        assert!(opcode == 0x5c || vvvv == 0, "an operand too many");
        assert!(opcode != 0x4b || rm == 4, "an address without an index");
        assert!(opcode != 0x5c || (reg != rm && vvvv < 8 && reg != vvvv && rm != vvvv));
        match (opcode, prefix, is_register) {
            // LDTILECFG: tests of whole tiles alone.
            (0x49, NONE, false) => {
                let (address, index, length) = memory();
                let config = &*((address + index) as *const [u8; 64]);
                assert_eq!((config[0], config[1]), (1, 0), "palette 1 from row 0");
                let reserved = [&config[2..16], &config[32..48], &config[56..]].concat();
                assert!(
                    reserved.iter().all(|&b| b == 0),
                    "what is reserved, and tiles from 8 on"
                );
                for t in 0..8 {
                    let bytes = u16::from_le_bytes([config[16 + 2 * t], config[17 + 2 * t]]);
                    assert_eq!((bytes, config[48 + t]), (64, 16), "a whole tile");
                }
                state.tiles = [[[0; 16]; 16]; 8];
                state.configured = true;
                Some(length)
            }
            // TILERELEASE
            (0x49, NONE, true) => {
                assert_eq!(modrm, 0xc0);
                state.configured = false;
                Some(5)
            }
            // TILEZERO
            (0x49, F2, true) => {
                assert_eq!(rm, 0);
                state.tiles[reg as usize] = [[0; 16]; 16];
                Some(5)
            }
            // TILELOADD
            (0x4b, F2, false) => {
                let (address, stride, length) = memory();
                for (i, row) in state.tiles[reg as usize].iter_mut().enumerate() {
                    *row = ((address + i as i64 * stride) as *const [u32; 16]).read_unaligned();
                }
                Some(length)
            }
            // TILESTORED
            (0x4b, F3, false) => {
                let (address, stride, length) = memory();
                for (i, row) in state.tiles[reg as usize].iter().enumerate() {
                    ((address + i as i64 * stride) as *mut [u32; 16]).write_unaligned(*row);
                }
                Some(length)
            }
            // TDPBF16PS: two sums a word, of the even and of the odd elements, then both into the third tile.
            (0x5c, F3, true) => {
                let (a, b) = (state.tiles[rm as usize], state.tiles[vvvv as usize]);
                multiply(&mut state.tiles[reg as usize], &a, &b);
                Some(5)
            }
            _ => None,
        }
    }
}

/// C += A B: two sums a word, of the even and of the odd elements, then both into C.
#[target_feature(enable = "avx512f,fma")]
fn multiply(c: &mut [[u32; 16]; 16], a: &[[u32; 16]; 16], b: &[[u32; 16]; 16]) {
    for (c, a) in c.iter_mut().zip(a) {
        let mut sums = [[0.0f32; 16]; 2];
        for (&a, b) in a.iter().zip(b) {
            let x = halves(a);
            for j in 0..16 {
                let y = halves(b[j]);
                for half in 0..2 {
                    sums[half][j] = flush(x[half].mul_add(y[half], sums[half][j]));
                }
            }
        }
        for j in 0..16 {
            let sum = flush(sums[0][j] + sums[1][j]);
            c[j] = flush(flush(f32::from_bits(c[j])) + sum).to_bits();
        }
    }
}

/// The two bf16s of a pair.
#[inline(always)]
fn halves(pair: u32) -> [f32; 2] {
    [
        flush(f32::from_bits(pair << 16)),
        flush(f32::from_bits(pair & 0xffff_0000)),
    ]
}

/// Denormals count as 0, before and after.
#[inline(always)]
fn flush(x: f32) -> f32 {
    if x.is_subnormal() { 0.0 * x } else { x }
}

/// The general register of that number in instructions.
fn register(registers: &[i64; 23], number: u8) -> i64 {
    let order = [
        libc::REG_RAX,
        libc::REG_RCX,
        libc::REG_RDX,
        libc::REG_RBX,
        libc::REG_RSP,
        libc::REG_RBP,
        libc::REG_RSI,
        libc::REG_RDI,
        libc::REG_R8,
        libc::REG_R9,
        libc::REG_R10,
        libc::REG_R11,
        libc::REG_R12,
        libc::REG_R13,
        libc::REG_R14,
        libc::REG_R15,
    ];
    registers[order[number as usize] as usize]
}
