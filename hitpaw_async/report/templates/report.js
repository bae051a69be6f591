for (const slider of document.querySelectorAll(".compare input")) {
  const show = () => slider.parentNode.style.setProperty("--split", slider.value + "%");
  slider.addEventListener("input", show);
  show();
}
