/* Uniform numbers from a seed: sfc32 (Doty-Humphrey 2010, PractRand), filled by splitmix32. */

export class Random {
  constructor(seed) {
    let state = (seed + Math.imul(Math.floor(seed / 2 ** 32), 0x85ebca6b)) | 0;
    const word = () => {
      state = (state + 0x9e3779b9) | 0;
      let mixed = Math.imul(state ^ (state >>> 16), 0x21f0aaad);
      mixed = Math.imul(mixed ^ (mixed >>> 15), 0x735a2d97);
      return mixed ^ (mixed >>> 15);
    };
    [this.a, this.b, this.c, this.count] = [word(), word(), word(), 1];
    for (let round = 0; round < 15; round += 1) this.#word();
  }

  /** A number in [0, 1), a multiple of 2 ** -53. */
  uniform() {
    const high = this.#word() >>> 5;
    const low = this.#word() >>> 6;
    return (high * 2 ** 26 + low) / 2 ** 53;
  }

  #word() {
    const result = (this.a + this.b + this.count) | 0;
    this.count = (this.count + 1) | 0;
    this.a = this.b ^ (this.b >>> 9);
    this.b = (this.c + (this.c << 3)) | 0;
    this.c = ((this.c << 21) | (this.c >>> 11)) + result;
    this.c |= 0;
    return result;
  }
}
