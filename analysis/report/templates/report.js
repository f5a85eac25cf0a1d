// Without this script, or where less motion is asked for, videos stand still and have controls.
const videos = [...document.querySelectorAll("video")];
const button = document.getElementById("play");
const still = matchMedia("(prefers-reduced-motion: reduce)");
let playing = false;

function show(play) {
  playing = play;
  for (const video of videos) {
    video.autoplay = play;
    video.controls = !play;
    if (play) video.play().catch(() => { video.controls = true; });
    else video.pause();
  }
  if (button) button.textContent = play ? "Pause all videos" : "Play all videos";
}

if (button) {
  button.hidden = false;
  button.addEventListener("click", () => show(!playing));
}
still.addEventListener("change", () => show(!still.matches));
show(!still.matches);
// What is folded away on the screen stands open on paper.
const folded = [...document.querySelectorAll("details")];
addEventListener("beforeprint", () => folded.forEach((one) => { one.open = true; }));
