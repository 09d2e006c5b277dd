// While a review waits, the page's title says so: a person may be looking at another tab.

let [mark, observer] = ["", null];

// words: put in front of the title that the host gives the page, also when it changes it meanwhile.
export function markTitle(words) {
  if (observer) return;
  mark = `(${words}) `;
  observer = new MutationObserver(put);
  observer.observe(document.head, { childList: true, subtree: true, characterData: true });
  put();
}

export function unmarkTitle() {
  if (!observer) return;
  observer.disconnect();
  observer = null;
  if (document.title.startsWith(mark)) document.title = document.title.slice(mark.length);
}

function put() {
  if (!document.title.startsWith(mark)) document.title = mark + document.title;
}
