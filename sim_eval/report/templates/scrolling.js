"use strict";
// A table that is wider than the page says so; its first column stays where it is.
(() => {
  const watch = new ResizeObserver((entries) => entries.forEach(({ target }) => {
    const box = target.closest(".scroll");
    box.classList.toggle("cut", box.scrollWidth > box.clientWidth + 1);
  }));
  document.querySelectorAll(".scroll").forEach((box) => {
    watch.observe(box);
    [...box.children].forEach((child) => watch.observe(child));
  });
})();
