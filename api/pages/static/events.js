// One stream of events for all pages of a browser (a shared worker), open while any of them is to be seen.
// Browsers allow six connections to one address: with a stream for each page, the seventh page would hang.
"use strict";

const pages = new Map(); // port -> is it to be seen
let stream = null;
let last = "";

function tell(word) {
  for (const [port, seen] of pages) if (seen) port.postMessage(word);
}

function follow() {
  const wanted = [...pages.values()].some(Boolean);
  if (wanted && stream === null) {
    stream = new EventSource(`/api/v1/events${last && `?after=${last}`}`);
    stream.onopen = () => tell("open");
    stream.onerror = () => {
      tell("lost");
      if (stream.readyState === EventSource.CLOSED) stream = null; // refused: the session has ended
    };
    stream.onmessage = (event) => {
      last = event.lastEventId;
      tell(event.data ? { job: JSON.parse(event.data).job_id } : "open"); // the first event has no data
    };
  } else if (!wanted && stream !== null) {
    stream.close();
    stream = null;
  }
}

onconnect = ({ ports: [port] }) => {
  port.onmessage = ({ data }) => {
    if (data === "gone") pages.delete(port);
    else pages.set(port, data === "seen");
    if (data === "seen" && stream?.readyState === EventSource.OPEN) port.postMessage("open");
    follow();
  };
};
