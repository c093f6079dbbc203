"use strict";
(() => {
  const said = document.getElementById("said");
  document.addEventListener("click", async (event) => {
    const id = event.target.closest("code.id");
    if (!id) return;
    try {
      await navigator.clipboard.writeText(id.textContent);
      said.textContent = `Copied: ${id.textContent}`;
    } catch {
      said.textContent = "Selected: copy it with Ctrl+C.";
    }
    said.hidden = false;
    setTimeout(() => { said.hidden = true; }, 2000);
  });

  const map = document.getElementById("map-drawing");
  if (!map) return;
  const data = JSON.parse(document.getElementById("map-data").textContent);
  const card = document.getElementById("map-card"), picture = card.querySelector("i"), words = card.querySelectorAll("span"), id = card.querySelector("code");
  const pictured = data.columns > 0;
  picture.hidden = !pictured;
  const show = (event) => {
    const point = event.target.closest("circle");
    if (!point) return;
    const number = [...point.parentNode.children].indexOf(point), row = data.rows[number];
    if (pictured) picture.style.backgroundPosition = `${-(number % data.columns) * data.tile * data.zoom}px ${-Math.floor(number / data.columns) * data.tile * data.zoom}px`;
    words[0].textContent = row[1];
    words[1].textContent = row[2];
    words[2].textContent = row[3];
    id.textContent = row[0];
    for (const marked of map.querySelectorAll(".here")) marked.classList.remove("here");
    point.classList.add("here");
    card.hidden = false;
  };
  map.addEventListener("pointerover", show);
  map.addEventListener("click", show);
})();
