// A keypad for PINs with large keys: what is entered is shown as dots and leaves the page only to this unit.
"use strict";

const keypad = {
  DIGITS: 6,

  // One PIN, or with `twice` one that is repeated; `done` gets the digits.
  make(done, twice = false) {
    let [entered, first] = ["", ""];
    const dots = unit.make("div", { class: "pin-dots", role: "status" });
    const label = unit.make("p", { class: "pin-label" });
    const show = () => {
      unit.fill(label, ...(first ? unit.both("Sekali lagi PIN yang sama", "The same PIN once more") : twice ? unit.both("Enam angka", "Six digits") : []));
      unit.fill(dots, ...Array.from({ length: keypad.DIGITS }, (_, at) => unit.make("i", { class: at < entered.length ? "full" : "" })));
      dots.setAttribute("aria-label", `${entered.length} / ${keypad.DIGITS}`);
    };
    const press = (key) => {
      entered = key === "back" ? entered.slice(0, -1) : (entered + key).slice(0, keypad.DIGITS);
      show();
      if (entered.length < keypad.DIGITS) return;
      if (twice && !first) { [first, entered] = [entered, ""]; setTimeout(show, 250); return; }
      const [pin, again] = twice ? [first, entered] : [entered, ""];
      [entered, first] = ["", ""];
      setTimeout(() => { show(); done(pin, again); }, 150);
    };
    const key = (text, value, label_) => unit.make("button", { type: "button", "aria-label": label_, on: () => press(value) }, text);
    const keys = [..."123456789"].map((digit) => key(digit, digit));
    const box = unit.make("div", { class: "pin-pad", tabindex: "-1" }, label, dots, unit.make("div", { class: "keypad" }, ...keys, unit.make("span"), key("0", "0"), key("⌫", "back", "Hapus (delete)")));
    box.addEventListener("keydown", (event) => {
      if (/^[0-9]$/.test(event.key)) press(event.key);
      else if (event.key === "Backspace") press("back");
      else return;
      event.preventDefault();
    });
    setTimeout(() => box.focus({ preventScroll: true }), 0);
    show();
    return box;
  },
};
